/**
 * This process's session with the registry. It keeps one connection and resumes watches and
 * registrations on the next one.
 *
 * - `connecting` → `connected`: a registry has greeted us
 * - `connecting` | `connected` → `waiting`: no address answers, or the connection is lost
 * - `waiting` → `connecting`: the pause is over; it grows until a registry has greeted us, because
 *   an open socket proves nothing (gRFC A57)
 * - any → `closed`
 */
import type { ConnectionOptions } from 'node:tls'
import type { Clock, Timer } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import { SKEW_REPORTED_MS } from '../../identity/validity.ts'
import type { Instance } from '../instance.ts'
import type { RegistryAddresses } from './addresses.ts'
import { SessionConnection } from './connection.ts'
import { RegistryDial } from './dial.ts'
import type { RegistryObserver } from './observer.ts'
import { type Done, PASSING, PendingAnswers } from './pending-answers.ts'
import { ReconnectPause } from './reconnect-pause.ts'
import { Registrations } from './registrations.ts'
import type { CachedState } from './snapshot-cache.ts'
import { labelOf, lookupOf, type RegistryTarget } from './target.ts'
import { UnreachableReasons } from './unreachable-reasons.ts'
import { RegistryWatches } from './watches.ts'
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

export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #clock: Clock
  /** What is known of services, and who listens for it. */
  readonly watches: RegistryWatches
  readonly #registrations: Registrations
  readonly #answers: PendingAnswers
  #dial: RegistryDial | undefined
  #connection: SessionConnection | undefined
  #welcome: Extract<ServerMessage, { type: 'welcome' }> | undefined
  readonly #pause = new ReconnectPause()
  readonly #unreachable = new UnreachableReasons()
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
    this.watches = new RegistryWatches({
      clock: options.clock,
      observer: options.observer,
      send: (message) => this.#connection?.send(message),
      restored: options.restored?.views ?? [],
    })
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
    return { views: this.watches.views, dev: this.#dev }
  }

  /** Whether the registry runs with `--dev`; `undefined` until one has said so. */
  get dev(): boolean | undefined {
    return this.#dev
  }

  /** When the registry last said something, on the monotonic clock. */
  get heardAt(): number {
    return this.#heardAt
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
   * Opens another connection at once, because the identity has changed. What is known stays, and no
   * loss is reported.
   */
  renew(): void {
    if (this.#closed || this.#dial === undefined) return
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#disconnected('the identity was renewed')
    this.#connect()
  }

  /**
   * Leaves the registry. Resolves when the registry has received it, after 500 ms at the latest.
   * Never rejects.
   */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    const told = this.#dial?.leave(this.watches.services)
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
    this.#dial = new RegistryDial(addresses, this.#clock, {
      open: (target, listener) => {
        const connection = new SessionConnection(target.url, { ...tls(), ...lookupOf(target) }, this.#clock, listener)
        connection.send({ type: 'hello', protocol: 1, service, process })
        return connection
      },
      connected: (target, connection) => {
        addresses.answered(target)
        this.#connection = connection
      },
      message: (target, message) => this.#receive(target, message),
      rejected: (reason) => observer.rejected(reason),
      unreachable: (address, reason) => observer.unreachable(address, reason, this.#unreachable.isNew(address, reason)),
      failed: () => this.#reconnect('no address answers'),
      lost: (target, reason) => {
        addresses.avoid(target)
        this.#disconnected(reason)
        observer.lost(labelOf(target), reason)
        this.#reconnect(reason)
      },
    })
    this.#dial.start()
  }

  #disconnected(reason: string): void {
    this.#dial?.close()
    this.#connection = undefined
    this.#welcome = undefined
    this.watches.end()
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

  #receive(target: RegistryTarget, message: ServerMessage): void {
    this.#heardAt = this.#clock.now()
    switch (message.type) {
      case 'welcome':
        this.#pause.answered(message.leaseMs)
        this.#unreachable.clear()
        this.#welcome = message
        this.#dev = message.dev
        this.#checkSkew(message.wallNow)
        this.#options.observer.connected(labelOf(target))
        this.#registrations.begin()
        this.watches.begin(message.epoch)
        this.#beat(message.beatMs)
        return
      case 'snapshot':
        this.watches.takeSnapshot(message)
        return
      case 'delta':
        this.watches.takeDelta(message)
        return
      case 'bundle':
        this.#trust(message)
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

  #trust(bundle: TrustBundle): void {
    const connection = this.#connection
    const sequence = this.#options.observer.bundle(bundle)
    connection?.send({ type: 'trusts', sequence })
  }

  #beat(everyMs: number): void {
    this.#connection?.beat()
    this.#registrations.beat()
    this.#beatTimer = this.#clock.startBackgroundTimer(everyMs, () => this.#beat(everyMs), undefined)
  }

  #checkSkew(registryNow: number): void {
    const skew = this.#clock.wallNow() - registryNow
    if (Math.abs(skew) > SKEW_REPORTED_MS) this.#options.observer.skew(skew)
  }
}
