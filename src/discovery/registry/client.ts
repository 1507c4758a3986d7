/**
 * This process's session with the registry: keeps one connection, resumes watches and registrations
 * on the next one, and never loses what it knows because the registry is gone. States: connecting →
 * connected → (lost) → waiting → connecting …, until closed. The pause between connections grows
 * until a registry has answered (gRFC A57: an open socket is no proof of life).
 */
import type { ConnectionOptions } from 'node:tls'
import type { Clock, Timer } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { SKEW_TOLD_MS } from '../../identity/validity.ts'
import type { Instance } from '../instance.ts'
import { unreadableIssue } from '../instance-reader.ts'
import { SessionConnection } from './connection.ts'
import { RegistryDial } from './dial.ts'
import type { RegistryAddresses } from './first-address.ts'
import type { RegistryObserver } from './observer.ts'
import { type Done, PASSING, PendingAnswers } from './pending-answers.ts'
import { ReconnectPause } from './reconnect-pause.ts'
import { Registrations } from './registrations.ts'
import { applyDelta, retainLastGood, type ServiceView, viewOf } from './service-view.ts'
import type { CachedState } from './snapshot-cache.ts'
import type { ClientMessage, ServerMessage } from './wire.ts'

export interface RegistryClientOptions {
  readonly addresses: RegistryAddresses
  readonly service: string
  /** Unique to this start of the process. */
  readonly process: string
  /** Asked for each connection, so that a rotated certificate is used at once. */
  readonly tls: () => ConnectionOptions
  readonly clock: Clock
  readonly observer: RegistryObserver
  /** What was known at the last run. */
  readonly restored?: CachedState
}

/** A whole list that was asked for and refused is not asked for with each further change. */
const ASK_AGAIN_MS = 5_000

export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #clock: Clock
  readonly #views = new Map<string, ServiceView>()
  readonly #listeners = new Map<string, (view: ServiceView) => void>()
  readonly #registrations: Registrations
  readonly #answers: PendingAnswers
  /** By service, when a whole list was asked for that has not come yet. */
  readonly #asked = new Map<string, number>()
  #dial: RegistryDial | undefined
  #connection: SessionConnection | undefined
  #welcome: Extract<ServerMessage, { type: 'welcome' }> | undefined
  readonly #pause = new ReconnectPause()
  #timer: Timer | undefined
  #beatTimer: Timer | undefined
  #closed = false
  #dev: boolean | undefined
  #heardAt = Number.NEGATIVE_INFINITY

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#answers = new PendingAnswers(options.clock)
    const connected = (): boolean => this.connected
    this.#registrations = new Registrations(options.clock, {
      ask: (message) => this.#ask(message),
      get connected() {
        return connected()
      },
      unlisted: (instance, why) => options.observer.unlisted(instance, why),
    })
    for (const [service, view] of options.restored?.views ?? []) this.#views.set(service, view)
    this.#dev = options.restored?.dev
  }

  /** Opens the first connection; returns at once. */
  start(): void {
    this.#connect()
  }

  get connected(): boolean {
    return this.#welcome !== undefined
  }

  /** What is known now, to be kept for the next run. */
  get known(): CachedState {
    return { views: this.#views, dev: this.#dev }
  }

  /** Whether the registry runs with `--dev`; `undefined` until one has said so. */
  get dev(): boolean | undefined {
    return this.#dev
  }

  /** When the registry last said something, on the monotonic clock. */
  get heardAt(): number {
    return this.#heardAt
  }

  /** What is known of `service`, live or from the last run. */
  view(service: string): ServiceView | undefined {
    return this.#views.get(service)
  }

  /**
   * Tells of every change of `service`, and at once of what is known already. One listener a
   * service.
   */
  watch(service: string, listener: (view: ServiceView) => void): void {
    this.#listeners.set(service, listener)
    const known = this.#views.get(service)
    if (known !== undefined) listener(known)
    if (this.#welcome !== undefined) this.#sendWatch(service)
  }

  /** Nothing is known of `service` from now on. */
  unwatch(service: string): void {
    this.#listeners.delete(service)
    this.#views.delete(service)
    this.#asked.delete(service)
    if (this.#welcome !== undefined) this.#connection?.send({ type: 'unwatch', service })
  }

  /** Everything about `service` up to `revision` is in force here: lets a draining instance go. */
  acknowledge(view: ServiceView): void {
    if (!view.endpoints.stale && this.#welcome?.epoch === view.epoch) {
      this.#connection?.send({ type: 'ack', service: view.service, revision: view.revision })
    }
  }

  /**
   * Resolves when the registry has stored it. It is kept registered over reconnections from now on,
   * whatever happens.
   */
  register(instance: Instance): Promise<void> {
    return this.#registrations.register(instance)
  }

  /**
   * Takes the instance out of every picker; resolves when all watchers have said so, or after
   * `boundMs`.
   */
  drain(id: string, boundMs: number): Promise<'seen' | 'unknown'> {
    return this.#registrations.drain(id, boundMs)
  }

  deregister(id: string): Promise<void> {
    return this.#registrations.deregister(id)
  }

  /**
   * The identity has changed: another connection shows the new one, at once. What is known is kept,
   * and nobody hears of a loss.
   */
  renew(): void {
    if (this.#closed || this.#dial === undefined) return
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#disconnected('the identity was renewed')
    this.#connect()
  }

  /**
   * Resolves when the registry has been told that this process leaves, within 500 ms. Never
   * rejects.
   */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    const told = this.#dial?.leave(this.#listeners.keys())
    this.#failAll('closed', 'the mesh was closed')
    this.#registrations.close()
    await told
  }

  #ask(message: (ref: number) => ClientMessage): Promise<Done> {
    const connection = this.#welcome === undefined ? undefined : this.#connection
    return this.#answers.ask((ref) => connection?.send(message(ref)), connection !== undefined)
  }

  #failAll(code: 'closed' | 'registry-unavailable', message: string): void {
    this.#answers.failAll(() => new MeshError(message, { code }))
  }

  #connect(): void {
    this.#timer = undefined
    if (this.#closed) return
    const { addresses, tls, observer, service, process } = this.#options
    this.#dial = new RegistryDial(addresses.inOrder, this.#clock, {
      open: (address, listener) => {
        const connection = new SessionConnection(address, tls(), this.#clock, listener)
        connection.send({ type: 'hello', protocol: 1, service, process })
        return connection
      },
      connected: (address, connection) => {
        addresses.answered(address)
        this.#connection = connection
      },
      message: (address, message) => this.#receive(address, message),
      rejected: (reason) => observer.rejected(reason),
      unreachable: (address, reason) => observer.unreachable(address, reason),
      failed: () => this.#reconnect('no address answers'),
      lost: (address, reason) => {
        addresses.failed(address)
        this.#disconnected(reason)
        observer.lost(address, reason)
        this.#reconnect(reason)
      },
    })
    this.#dial.start()
  }

  #disconnected(reason: string): void {
    this.#dial?.close()
    this.#connection = undefined
    this.#welcome = undefined
    this.#asked.clear()
    if (this.#beatTimer !== undefined) this.#clock.stopTimer(this.#beatTimer)
    this.#beatTimer = undefined
    this.#registrations.end()
    this.#failAll('registry-unavailable', `the registry went away: ${reason}`)
  }

  #reconnect(reason: string): void {
    if (this.#closed) return
    this.#disconnected(reason)
    const pause = this.#pause.next(this.#clock.random())
    this.#timer = this.#clock.startBackgroundTimer(pause, () => this.#connect(), undefined)
  }

  #receive(address: string, message: ServerMessage): void {
    this.#heardAt = this.#clock.now()
    switch (message.type) {
      case 'welcome':
        this.#pause.answered(message.leaseMs)
        this.#welcome = message
        this.#dev = message.dev
        this.#checkSkew(message.wallNow)
        this.#options.observer.connected(address)
        this.#registrations.begin()
        for (const service of this.#listeners.keys()) this.#sendWatch(service)
        this.#beat(message.beatMs)
        return
      case 'snapshot':
        this.#asked.delete(message.service)
        if (this.#listeners.has(message.service)) this.#update(viewOf(message))
        return
      case 'delta': {
        // On its way when the watch ended.
        if (!this.#listeners.has(message.service)) return
        const known = this.#views.get(message.service)
        if (known === undefined || known.revision !== message.previous || known.epoch !== this.#welcome?.epoch) {
          this.#askWhole(message.service)
          return
        }
        this.#update(applyDelta(known, message))
        return
      }
      case 'bundle':
        this.#options.observer.bundle(message.trustDomain, message.roots, message.sequence)
        return
      case 'mark':
      case 'part':
        return
      case 'done':
        this.#answers.settle(message.ref, message)
        return
      case 'seen':
        this.#registrations.seen(message.id)
        return
      case 'unlisted':
        this.#registrations.unlisted(message.id, message.why)
        return
      case 'error':
        this.#options.observer.refused(message.code, message.message)
        if (message.ref !== undefined) {
          const code = PASSING.has(message.code) ? 'registry-unavailable' : 'registry-refused'
          this.#answers.settle(message.ref, new MeshError(message.message, { code, service: this.#options.service }))
        }
        return
      case 'goaway':
        this.#pause.asked(message.retryAfterMs)
    }
  }

  #update(next: ServiceView): void {
    const known = this.#views.get(next.service)
    const view = retainLastGood(next, known)
    const { policy, policyIssue } = next.document
    if (policyIssue !== undefined && policyIssue !== known?.document.policyIssue) {
      this.#options.observer.policyRefused(next.service, policyIssue, view.document.policy !== policy)
    }
    const unread = unreadableIssue(next.endpoints)
    if (unread !== undefined && unread !== (known && unreadableIssue(known.endpoints))) {
      this.#options.observer.instanceRefused(next.service, unread)
    }
    this.#views.set(view.service, view)
    this.#listeners.get(view.service)?.(view)
  }

  #askWhole(service: string): void {
    const now = this.#clock.now()
    if (now - (this.#asked.get(service) ?? Number.NEGATIVE_INFINITY) < ASK_AGAIN_MS) return
    this.#asked.set(service, now)
    this.#connection?.send({ type: 'watch', service })
  }

  #sendWatch(service: string): void {
    const known = this.#views.get(service)
    // A view from the disk is confirmed by a whole snapshot, not by the absence of news.
    const resumes = known !== undefined && !known.endpoints.stale && known.epoch === this.#welcome?.epoch
    this.#connection?.send(
      resumes
        ? { type: 'watch', service, since: { epoch: known.epoch, revision: known.revision } }
        : { type: 'watch', service },
    )
  }

  #beat(everyMs: number): void {
    this.#connection?.beat()
    this.#registrations.beat()
    this.#beatTimer = this.#clock.startBackgroundTimer(everyMs, () => this.#beat(everyMs), undefined)
  }

  #checkSkew(registryNow: number): void {
    const skew = this.#clock.wallNow() - registryNow
    if (Math.abs(skew) > SKEW_TOLD_MS) this.#options.observer.skew(skew)
  }
}
