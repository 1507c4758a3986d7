/**
 * Waits until watchers at all registries have seen that an instance leaves. Each registry waits for
 * its watchers and publishes how far they are; the registry of the instance's session waits for all
 * that are announced.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { holderOf } from '../records.ts'
import type { RegistryState, ServiceChange } from '../state.ts'
import type { WatchHub } from '../watch/hub.ts'
import type { SeenRecord } from './fleet-records.ts'
import type { Publication } from './publication.ts'

/** A process does not wait longer for its watchers. */
const LONGEST_WAIT_MS = 30_000
/** Services in what is published; the oldest go first. */
const MOST_SERVICES = 200

interface Wait {
  readonly service: string
  readonly revision: number
  /** Registries that have not said so yet. */
  readonly missing: Set<string>
  watchers: number
  readonly done: (watchers: number) => void
}

interface SightingsHost {
  readonly state: RegistryState
  readonly hub: WatchHub
  readonly clock: Clock
  readonly id: string
  readonly publication: Publication
  readonly leaseMs: number
}

export class Sightings {
  readonly #host: SightingsHost
  readonly #waits = new Set<Wait>()
  /** By service, newest last. */
  readonly #seen = new Map<string, SeenRecord[string]>()
  /** Of our watchers, for a registry that waits for them. */
  readonly #ours = new Map<() => void, Timer>()
  readonly #stopListening: readonly (() => void)[]
  /** By registry, as it said last. */
  readonly #sessions = new Map<string, number>()

  constructor(host: SightingsHost) {
    this.#host = host
    const { state } = host
    for (const { id, sessions } of state.fleet.registries.values()) this.#sessions.set(id, sessions)
    this.#stopListening = [
      state.onChange((change) => this.#answer(change)),
      state.fleet.onChange((kind, id) => {
        if (kind === 'seen') this.#heard(id)
        else if (kind === 'registry') this.#registryChanged(id)
      }),
    ]
  }

  /**
   * Calls `done` once everybody who watches `service` now, at any registry, has acknowledged
   * `revision`, or has left. `written`: the revision that took the instance out; `undefined`: it
   * was out before, and other registries are not asked. Returns how to stop.
   */
  whenSeen(
    service: string,
    revision: number,
    written: number | undefined,
    done: (watchers: number) => void,
  ): () => void {
    const { hub, state, id } = this.#host
    const peers = written === undefined ? [] : [...state.fleet.registries.keys()].filter((one) => one !== id)
    if (peers.length === 0) return hub.whenSeen(service, revision, done)
    const wait: Wait = { service, revision: written!, missing: new Set([id, ...peers]), watchers: 0, done }
    this.#waits.add(wait)
    for (const peer of peers) this.#check(wait, peer)
    const stop = hub.whenSeen(service, revision, (watchers) => this.#saw(wait, id, watchers))
    return () => {
      this.#waits.delete(wait)
      stop()
    }
  }

  close(): void {
    for (const stop of this.#stopListening) stop()
    for (const [stop, timer] of this.#ours) this.#end(stop, timer)
    this.#waits.clear()
  }

  /** Another registry may wait for our watchers. */
  #answer({ service, revision, put, gone }: ServiceChange): void {
    const { state, hub, clock, id } = this.#host
    if (state.fleet.registries.size < 2) return
    const instances = state.service(service)?.instances
    const leaves =
      gone.some(({ why }) => why === 'left') ||
      put.some((one) => {
        const record = instances?.get(one.id)
        return one.state === 'draining' && record !== undefined && holderOf(record) !== id
      })
    if (!leaves) return
    let stop: (() => void) | undefined
    let seen = false
    const saw = (watchers: number): void => {
      seen = true
      if (stop !== undefined) this.#end(stop, this.#ours.get(stop))
      this.#publish(service, revision, watchers)
    }
    stop = hub.whenSeen(service, revision, saw)
    if (seen) return
    const waiting = stop
    this.#ours.set(
      waiting,
      clock.startBackgroundTimer(LONGEST_WAIT_MS, () => this.#end(waiting, undefined), undefined),
    )
  }

  #end(stop: () => void, timer: Timer | undefined): void {
    if (timer !== undefined) this.#host.clock.stopTimer(timer)
    this.#ours.delete(stop)
    stop()
  }

  #publish(service: string, revision: number, watchers: number): void {
    if (revision <= (this.#seen.get(service)?.[0] ?? 0)) return
    this.#seen.delete(service)
    this.#seen.set(service, [revision, watchers])
    if (this.#seen.size > MOST_SERVICES) this.#seen.delete(this.#seen.keys().next().value!)
    this.#host.publication.set(Object.fromEntries(this.#seen))
  }

  #heard(id: string): void {
    for (const wait of [...this.#waits]) this.#check(wait, id)
  }

  #check(wait: Wait, id: string): void {
    const [revision, watchers] = this.#host.state.fleet.seen.get(id)?.[wait.service] ?? [0, 0]
    if (revision >= wait.revision) this.#saw(wait, id, watchers)
  }

  #registryChanged(id: string): void {
    const { hub, state, leaseMs } = this.#host
    const sessions = state.fleet.registries.get(id)?.sessions
    if (sessions !== undefined) {
      this.#sessions.set(id, sessions)
      return
    }
    const left = this.#sessions.get(id) ?? 0
    this.#sessions.delete(id)
    if (left === 0) {
      for (const wait of [...this.#waits]) this.#saw(wait, id, 0)
      return
    }
    // Its watchers have to come back to another registry before it is known what they have seen.
    hub.expectWatchers(leaseMs)
    for (const wait of [...this.#waits]) if (wait.missing.has(id)) this.#waits.delete(wait)
  }

  #saw(wait: Wait, id: string, watchers: number): void {
    if (!wait.missing.delete(id)) return
    wait.watchers += watchers
    if (wait.missing.size > 0) return
    this.#waits.delete(wait)
    wait.done(wait.watchers)
  }
}
