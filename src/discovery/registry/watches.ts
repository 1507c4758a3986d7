/**
 * The services that this process watches at the registry. The next session resumes each of them; a
 * delta with a gap before it makes the process request a whole snapshot.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { unreadableIssue } from '../instance-reader.ts'
import type { PolicySource, ServiceDocument } from '../policy-source.ts'
import type { Resolver, ServiceEndpoints } from '../resolver.ts'
import type { RegistryObserver } from './observer.ts'
import { afterOtherDelta, afterOtherSnapshot } from './other-session.ts'
import { applyDelta, retainLastGood, type ServiceView, viewOf } from './service-view.ts'
import type { ClientMessage, ServerMessage } from './wire.ts'

export interface RegistryWatchesOptions {
  readonly clock: Clock
  readonly observer: Pick<RegistryObserver, 'applied' | 'policyRefused' | 'instanceRefused'>
  /** Sends in the session that stands. */
  readonly send: (message: ClientMessage) => void
  /** Of the last run. */
  readonly restored: Iterable<readonly [string, ServiceView]>
}

/** The session that a message came in. */
interface Sender {
  send(message: ClientMessage): void
}

interface Listeners {
  endpoints: ((endpoints: ServiceEndpoints) => void) | undefined
  document: ((document: ServiceDocument) => void) | undefined
}

/** How long a view of the last run waits for a live one. */
export const FRESH_WITHIN_MS = 1_000
/** Bounds how often a refused snapshot is requested again while deltas arrive. */
const REQUEST_AGAIN_MS = 5_000

export class RegistryWatches implements Resolver, PolicySource {
  readonly #options: RegistryWatchesOptions
  readonly #views: Map<string, ServiceView>
  readonly #listeners = new Map<string, Listeners>()
  /** By service, when the whole snapshot that has not come yet was requested. */
  readonly #requestedAt = new Map<string, number>()
  /** Of the session that stands; `undefined`: none does. */
  #epoch: string | undefined
  /** By service: the session that spoke of it last. */
  readonly #heardIn = new Map<string, Sender>()
  /** Services of which the session that stands has said nothing yet. */
  readonly #awaited = new Set<string>()
  #resumed: (() => void) | undefined
  /** Services whose view of the last run waits for a live one. */
  readonly #held = new Map<string, Timer>()

  constructor(options: RegistryWatchesOptions) {
    this.#options = options
    this.#views = new Map(options.restored)
  }

  /** By service; also views of the last run that are not watched. */
  get views(): ReadonlyMap<string, ServiceView> {
    return this.#views
  }

  /** Names of the watched services. */
  get services(): Iterable<string> {
    return this.#listeners.keys()
  }

  watchEndpoints(service: string, listener: (endpoints: ServiceEndpoints) => void): () => void {
    const listeners = this.#watch(service)
    listeners.endpoints = listener
    const view = this.#views.get(service)
    if (view !== undefined && !this.#holds(view)) {
      listener(view.endpoints)
      if (listeners.document !== undefined) this.#options.observer.applied(view)
    }
    return () => {
      if (listeners.endpoints === listener) listeners.endpoints = undefined
      this.#unwatch(service, listeners)
    }
  }

  watchDocument(service: string, listener: (document: ServiceDocument) => void): () => void {
    const listeners = this.#watch(service)
    listeners.document = listener
    const view = this.#views.get(service)
    if (view !== undefined && !this.#holds(view)) {
      listener(view.document)
      if (listeners.endpoints !== undefined) this.#options.observer.applied(view)
    }
    return () => {
      if (listeners.document === listener) listeners.document = undefined
      this.#unwatch(service, listeners)
    }
  }

  /** A session stands. Resolves when it has told us of all services that we watch now. */
  begin(epoch: string): Promise<void> {
    this.end()
    this.#epoch = epoch
    for (const service of this.#listeners.keys()) {
      this.#awaited.add(service)
      this.#sendWatch(service)
    }
    return new Promise((resolve) => {
      this.#resumed = resolve
      this.#tellResumed()
    })
  }

  /** The session is over, and no other stands. */
  end(): void {
    this.#epoch = undefined
    this.#requestedAt.clear()
    this.#awaited.clear()
    this.#tellResumed()
    for (const service of [...this.#held.keys()]) this.#release(service)
  }

  /** Forgets the views of the last run that are not watched. */
  forgetUnwatched(): void {
    for (const service of this.#views.keys()) if (!this.#listeners.has(service)) this.#views.delete(service)
  }

  /** `current`: `from` is the session that stands, and not the one before it. */
  takeSnapshot(message: Extract<ServerMessage, { type: 'snapshot' }>, from: Sender, current: boolean): void {
    const { service, epoch } = message
    if (!this.#listeners.has(service)) return
    const known = this.#views.get(service)
    if (!current && known?.epoch !== epoch) return
    if (current) this.#requestedAt.delete(service)
    const next = this.#heardIn.get(service) === from ? viewOf(message) : afterOtherSnapshot(message, known)
    this.#update(next, from, epoch)
    if (current) this.#resume(service)
  }

  takeDelta(message: Extract<ServerMessage, { type: 'delta' }>, from: Sender, current: boolean): void {
    const { service } = message
    // It was on its way when the watch ended.
    if (!this.#listeners.has(service)) return
    const known = this.#views.get(service)
    const epoch = current ? this.#epoch : known?.epoch
    const next = known === undefined || known.epoch !== epoch ? undefined : this.#after(known, message, from)
    if (next !== undefined) {
      this.#update(next, from, next.epoch)
      if (current) this.#resume(service)
    } else if (current) this.#requestSnapshot(service)
  }

  #after(known: ServiceView, delta: Extract<ServerMessage, { type: 'delta' }>, from: Sender): ServiceView | undefined {
    if (this.#heardIn.get(delta.service) !== from) return afterOtherDelta(delta, known)
    return known.revision === delta.previous ? applyDelta(known, delta) : undefined
  }

  #watch(service: string): Listeners {
    let listeners = this.#listeners.get(service)
    if (listeners === undefined) {
      listeners = { endpoints: undefined, document: undefined }
      this.#listeners.set(service, listeners)
      if (this.#epoch !== undefined) this.#sendWatch(service)
    }
    return listeners
  }

  /** Without a listener nothing is known of the service from now on. */
  #unwatch(service: string, listeners: Listeners): void {
    const { endpoints, document } = listeners
    if (endpoints !== undefined || document !== undefined || this.#listeners.get(service) !== listeners) return
    this.#listeners.delete(service)
    this.#letGo(service)
    this.#views.delete(service)
    this.#requestedAt.delete(service)
    this.#heardIn.delete(service)
    this.#resume(service)
    if (this.#epoch !== undefined) this.#options.send({ type: 'unwatch', service })
  }

  /**
   * Whether the view waits, because it is of the last run and a session stands: a process that runs
   * for a moment only would never see a newer one.
   */
  #holds({ service, endpoints }: ServiceView): boolean {
    if (!endpoints.stale || this.#epoch === undefined) return false
    if (!this.#held.has(service)) {
      const release = (): void => this.#release(service)
      this.#held.set(service, this.#options.clock.startBackgroundTimer(FRESH_WITHIN_MS, release, undefined))
    }
    return true
  }

  /** No live view came in time, or the session is over. */
  #release(service: string): void {
    if (!this.#letGo(service)) return
    const view = this.#views.get(service)
    const listeners = this.#listeners.get(service)
    if (view === undefined) return
    listeners?.document?.(view.document)
    listeners?.endpoints?.(view.endpoints)
    this.#options.observer.applied(view)
  }

  /** Whether it was held. */
  #letGo(service: string): boolean {
    const timer = this.#held.get(service)
    if (timer === undefined) return false
    this.#options.clock.stopTimer(timer)
    return this.#held.delete(service)
  }

  #resume(service: string): void {
    if (this.#awaited.delete(service)) this.#tellResumed()
  }

  #tellResumed(): void {
    if (this.#awaited.size > 0) return
    this.#resumed?.()
    this.#resumed = undefined
  }

  /** `epoch`: of the session that it came in. */
  #update(next: ServiceView, from: Sender, epoch: string): void {
    const { observer } = this.#options
    const { service } = next
    const known = this.#views.get(service)
    if (next === known) {
      // The other session is ahead of this one.
      from.send({ type: 'ack', service, revision: known.revision })
      return
    }
    this.#heardIn.set(service, from)
    const view = retainLastGood(next, known)
    const { policy, policyIssue } = next.document
    if (policyIssue !== undefined && policyIssue !== known?.document.policyIssue) {
      observer.policyRefused(service, policyIssue, view.document.policy !== policy)
    }
    const unread = unreadableIssue(next.endpoints)
    if (unread !== undefined && unread !== (known && unreadableIssue(known.endpoints))) {
      observer.instanceRefused(service, unread)
    }
    this.#views.set(service, view)
    const listeners = this.#listeners.get(service)
    const isFirst = this.#letGo(service)
    if (isFirst || view.document !== known?.document) listeners?.document?.(view.document)
    if (isFirst || view.endpoints !== known?.endpoints) listeners?.endpoints?.(view.endpoints)
    observer.applied(view)
    // Everything up to this revision is in force here: the registry may let a draining instance go.
    if (view.epoch === epoch) from.send({ type: 'ack', service, revision: view.revision })
  }

  #requestSnapshot(service: string): void {
    const now = this.#options.clock.now()
    if (now - (this.#requestedAt.get(service) ?? Number.NEGATIVE_INFINITY) < REQUEST_AGAIN_MS) return
    this.#requestedAt.set(service, now)
    this.#options.send({ type: 'watch', service })
  }

  #sendWatch(service: string): void {
    const known = this.#views.get(service)
    // A view from the disk is confirmed by a whole snapshot, not by the absence of news.
    const resumes = known !== undefined && !known.endpoints.stale && known.epoch === this.#epoch
    this.#options.send(
      resumes
        ? { type: 'watch', service, since: { epoch: known.epoch, revision: known.revision } }
        : { type: 'watch', service },
    )
  }
}
