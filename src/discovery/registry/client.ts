/**
 * This process as a client of the registries. It keeps one session, and resumes watches and
 * registrations on the next one.
 *
 * - `connecting` → `connected`: a registry has greeted us
 * - `connected` → `moving`: the registry sends us away, or our identity is new; the session goes on
 * - `moving` → `connected`: another registry has greeted us; the former session ends when the new
 *   one has taken over, after 5 s at the latest. Or none does, and we stay
 * - any of them → `waiting`: no address answers, or the only session is lost
 * - `waiting` → `connecting`: the pause is over; it grows until a session has lasted, because an
 *   open socket proves nothing (gRFC A57)
 * - any → `closed`
 */
import type { ConnectionOptions } from 'node:tls'
import type { Clock, Timer } from '../../core/clock.ts'
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import { SKEW_REPORTED_MS } from '../../identity/validity.ts'
import type { Demand } from '../../resilience/limits/global-rate-limit.ts'
import type { TappedMessage } from '../../telemetry/tap/tap-message.ts'
import type { Instance } from '../instance.ts'
import type { TrafficMessage } from '../traffic/message.ts'
import type { RegistryAddresses } from './addresses.ts'
import { MovePause } from './move-pause.ts'
import type { RegistryObserver } from './observer.ts'
import { noRegistry } from './pending-answers.ts'
import { ReconnectPause } from './reconnect-pause.ts'
import { Registrations } from './registrations.ts'
import { RegistrySession, type RegistrySessionListener, type Welcome } from './session.ts'
import type { CachedState } from './snapshot-cache.ts'
import { labelOf, type RegistryTarget } from './target.ts'
import { UnreachableReasons } from './unreachable-reasons.ts'
import { RegistryWatches } from './watches.ts'
import { PROTOCOL, type ServerMessage } from './wire.ts'

/** How long a session that another one replaces is kept for what it still has to do. */
const TAKE_OVER_MS = 5_000

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
  /** The newest protocol to speak. @defaultValue {@link PROTOCOL} */
  readonly protocol?: number
}

export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #clock: Clock
  /** What is known of services, and who listens for it. */
  readonly watches: RegistryWatches
  readonly #registrations: Registrations
  readonly #listener: RegistrySessionListener
  readonly #pause = new ReconnectPause()
  readonly #moves = new MovePause()
  readonly #unreachable = new UnreachableReasons()
  /** The one that stands, or the search for the first. */
  #session: RegistrySession | undefined
  /** The search for the one to move to. */
  #next: RegistrySession | undefined
  /** Replaced, and not closed yet. */
  readonly #former = new Set<RegistrySession>()
  /** Of the next connection or move. */
  #timer: Timer | undefined
  #closed = false
  #dev: boolean | undefined
  #heardAt = Number.NEGATIVE_INFINITY

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#clock = options.clock
    const { observer } = options
    const connected = (): boolean => this.connected
    this.#registrations = new Registrations(options.clock, {
      ask: (message) => this.#session?.ask(message) ?? Promise.reject(noRegistry()),
      get connected() {
        return connected()
      },
      unlisted: (instance, why) => observer.unlisted(instance, why),
    })
    this.watches = new RegistryWatches({
      clock: options.clock,
      observer,
      send: (message) => this.#session?.send(message),
      restored: options.restored?.views ?? [],
    })
    this.#dev = options.restored?.dev
    this.#listener = {
      greeted: (session, welcome) => this.#greeted(session, welcome),
      heard: () => {
        this.#heardAt = this.#clock.now()
      },
      beaten: (session, first) => this.#beaten(session, first),
      message: (session, message) => this.#receive(session, message),
      refused: (code, message) => observer.refused(code, message),
      rejected: (reason) => observer.rejected(reason),
      unreachable: (url, reason) => observer.unreachable(url, reason, this.#unreachable.isNew(url, reason)),
      failed: (session) => this.#failed(session),
      lost: (session, reason) => this.#lost(session, reason),
    }
  }

  /** Opens the first connection; returns at once. */
  start(): void {
    this.#connect()
  }

  get connected(): boolean {
    return this.#session?.welcome !== undefined
  }

  /** What is known now, to be kept for the next run. */
  get known(): CachedState {
    return { views: this.watches.views, dev: this.#dev }
  }

  /** Whether the registry runs with `--dev`; `undefined` until one has said so. */
  get dev(): boolean | undefined {
    return this.#dev
  }

  /** When a registry last said something, on the monotonic clock. */
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

  /** Requests per second that this process is offered. Lost without harm if there is no session. */
  tellDemand(perSecond: Demand): void {
    if (this.connected) this.#session!.send({ type: 'demand', perSecond })
  }

  /** Whether a session stands whose stream takes more. */
  get isReady(): boolean {
    return this.#session?.isReady === true
  }

  /** To the registry that has asked for it, while {@link isReady}. */
  tellTraffic(message: TrafficMessage): void {
    this.#session?.send(message)
  }

  /** For a tap of the registry, while {@link isReady}. */
  tellTapped(message: TappedMessage): void {
    this.#session?.send(message)
  }

  /**
   * Opens another session, because the identity has changed. What is known stays, and no loss is
   * reported. The present session goes on until the next one stands, unless `atOnce`: it is of
   * a registry that is no longer trusted.
   */
  renew(atOnce = false): void {
    if (this.#closed || this.#session === undefined) return
    this.#stopTimer()
    this.#next?.close('the identity was renewed')
    this.#next = undefined
    if (this.connected && !atOnce) {
      this.#move()
      return
    }
    for (const former of this.#former) former.close('the identity was renewed')
    this.#former.clear()
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
    this.#stopTimer()
    this.#next?.close('the mesh was closed')
    const sessions = [this.#session, ...this.#former].filter((one) => one !== undefined)
    const told = sessions.map((one) => one.leave(this.watches.services, 'closed', 'the mesh was closed'))
    this.#registrations.close()
    await Promise.all(told)
  }

  #connect(): void {
    this.#timer = undefined
    if (!this.#closed) this.#session = this.#open()
  }

  #open(except?: RegistryTarget): RegistrySession {
    const { addresses, tls, service, process, protocol = PROTOCOL, observer } = this.#options
    const reports = observer.trafficAsked !== undefined
    const taps = observer.tap !== undefined && { tap: true as const }
    const greeting = { service, process, protocol, ...(reports && { traffic: true as const }), ...taps }
    const session = new RegistrySession({ addresses, greeting, tls, clock: this.#clock, except }, this.#listener)
    session.start()
    return session
  }

  /** Opens the next session beside the present one. `except`: not at this registry. */
  #move(except?: RegistryTarget): void {
    this.#timer = undefined
    this.#next = this.#open(except)
  }

  #moveIn(ms: number): void {
    if (this.#next !== undefined) return
    this.#stopTimer()
    const { target } = this.#session!
    this.#timer = this.#clock.startBackgroundTimer(ms, () => this.#move(target), undefined)
  }

  #greeted(session: RegistrySession, welcome: Welcome): void {
    const choosesAnew = this.#options.addresses.answered(session.target!, welcome.registries)
    if (choosesAnew && session !== this.#next) {
      // Before anything is registered.
      void session.leave([], 'registry-unavailable', 'this process chose another registry')
      this.#connect()
      return
    }
    this.#pause.greeted(welcome.leaseMs)
    this.#unreachable.clear()
    this.#dev = welcome.dev
    this.#checkSkew(welcome.wallNow)
    const former = session === this.#next ? this.#session : undefined
    this.#next = undefined
    this.#session = session
    this.#options.observer.connected(labelOf(session.target!))
    this.#options.observer.trafficAsked?.(welcome.traffic?.everyMs)
    const registered = this.#registrations.begin()
    const resumed = this.watches.begin(welcome.epoch)
    if (former !== undefined) this.#retire(former, Promise.all([registered, resumed, former.settled()]))
  }

  /** Ends a session when the next one has taken over. */
  #retire(former: RegistrySession, takenOver: Promise<unknown>): void {
    this.#former.add(former)
    const leave = (): void => {
      this.#clock.stopTimer(late)
      if (!this.#former.delete(former)) return
      void former.leave(this.watches.services, 'registry-unavailable', 'this process went to another registry')
    }
    const late = this.#clock.startBackgroundTimer(TAKE_OVER_MS, leave, undefined)
    void takenOver.then(leave)
  }

  #beaten(session: RegistrySession, first: boolean): void {
    if (session !== this.#session) return
    this.#registrations.beat()
    if (!first) this.#pause.lasted()
  }

  #failed(session: RegistrySession): void {
    if (session !== this.#next) {
      this.#reconnect('no address answers')
      return
    }
    this.#next = undefined
    const pause = this.#moves.failed(this.#clock.random())
    if (pause !== undefined) this.#moveIn(pause)
  }

  #lost(session: RegistrySession, reason: string): void {
    if (this.#former.delete(session)) return
    this.#options.addresses.avoid(session.target!)
    this.#disconnected(reason)
    this.#options.observer.lost(labelOf(session.target!), reason)
    if (this.#next === undefined) {
      this.#reconnect(reason)
      return
    }
    this.#session = this.#next
    this.#next = undefined
  }

  #disconnected(reason: string): void {
    this.#session?.close(`the registry went away: ${reason}`)
    this.watches.end()
    this.#registrations.end()
  }

  #reconnect(reason: string): void {
    if (this.#closed) return
    this.#stopTimer()
    this.#disconnected(reason)
    const pause = this.#pause.next(this.#clock.random())
    this.#timer = this.#clock.startBackgroundTimer(pause, () => this.#connect(), undefined)
  }

  #receive(session: RegistrySession, message: ServerMessage): void {
    const current = session === this.#session
    switch (message.type) {
      case 'snapshot':
        this.watches.takeSnapshot(message, session, current)
        return
      case 'delta':
        this.watches.takeDelta(message, session, current)
        return
      case 'bundle':
        this.#trust(session, message)
        return
      case 'seen':
        this.#registrations.seen(message.id)
        return
      case 'unlisted':
        this.#registrations.unlisted(message.id, message.why)
        return
      case 'moved':
        if (current) this.#registrations.moved(message.id)
        return
      case 'quota':
        if (current) this.#options.observer.quota?.(message)
        return
      case 'tap':
      case 'untap':
        if (current) this.#options.observer.tap?.(message)
        return
      case 'goaway':
        if (message.gently !== true) this.#pause.asked(message.retryAfterMs)
        else if (current && session.target !== undefined) this.#sentAway(session.target, message.retryAfterMs)
    }
  }

  #sentAway(target: RegistryTarget, retryAfterMs: number): void {
    this.#options.addresses.avoid(target)
    this.#moveIn(this.#moves.asked(retryAfterMs, this.#clock.now(), this.#clock.random()))
  }

  #trust(session: RegistrySession, bundle: TrustBundle): void {
    session.send({ type: 'trusts', sequence: this.#options.observer.bundle(bundle) })
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #checkSkew(registryNow: number): void {
    const skew = this.#clock.wallNow() - registryNow
    if (Math.abs(skew) > SKEW_REPORTED_MS) this.#options.observer.skew(skew)
  }
}
