/** The endpoints of a route with sessions: a call that belongs to one goes where it began. */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Cluster, Picker } from '../../core/picker.ts'
import { readSession } from '../../routing/session.ts'
import type { RouteSettings } from '../../routing/settings.ts'
import type { ClientCall } from '../call.ts'

/** Unchanged for a route without sessions. */
export function withSessions(cluster: Cluster, { session }: Pick<RouteSettings, 'session'>, clock: Clock): Cluster {
  if (session === undefined) return cluster
  return new SessionCluster(cluster, (call) => {
    const headerOf = (name: string): string | undefined => (call as ClientCall).header(name)
    return readSession(session, headerOf, clock.wallNow())?.endpoint
  })
}

/** The id of the endpoint that a call's session names; `undefined`: it has none. */
type SessionOf = (call: Call) => string | undefined

class SessionCluster implements Cluster {
  readonly #inner: Cluster
  readonly #sessionOf: SessionOf
  #picker: SessionPicker | undefined

  constructor(inner: Cluster, sessionOf: SessionOf) {
    this.#inner = inner
    this.#sessionOf = sessionOf
  }

  get service(): string {
    return this.#inner.service
  }

  get endpoints(): readonly Endpoint[] {
    return this.#inner.endpoints
  }

  get picker(): Picker {
    const { picker, endpoints } = this.#inner
    if (this.#picker?.inner !== picker || this.#picker.endpoints !== endpoints) {
      this.#picker = new SessionPicker(picker, endpoints, this.#sessionOf)
    }
    return this.#picker
  }

  whenAvailable(ms: number, listener: (available: boolean) => void): () => void {
    return this.#inner.whenAvailable(ms, listener)
  }

  onChange(listener: () => void): () => void {
    return this.#inner.onChange(listener)
  }
}

/** A session leaves an endpoint that is ejected, or that its call has tried. */
class SessionPicker implements Picker {
  readonly inner: Picker
  readonly endpoints: readonly Endpoint[]
  readonly #sessionOf: SessionOf

  constructor(inner: Picker, endpoints: readonly Endpoint[], sessionOf: SessionOf) {
    this.inner = inner
    this.endpoints = endpoints
    this.#sessionOf = sessionOf
  }

  get inUse(): readonly Endpoint[] | undefined {
    return this.inner.inUse
  }

  pick(call: Call, now?: number): Endpoint | undefined {
    const id = this.#sessionOf(call)
    const own = id === undefined ? undefined : this.endpoints.find((one) => one.id === id)
    const usable = own !== undefined && own.state === 'healthy' && !own.withdrawn && call.tried?.includes(own) !== true
    return usable ? own : this.inner.pick(call, now)
  }
}
