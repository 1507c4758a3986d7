/**
 * The taps of one registry: asks the sessions whose processes may have such calls, also those that
 * come later, and takes what they send.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import type { ServerMessage } from '../../discovery/registry/wire.ts'
import { readTapped } from '../../discovery/tap/message.ts'
import { statusMatches } from '../../telemetry/tap/status-match.ts'
import { TAP_LIMITS, type TapFilter, type TappedCall } from '../../telemetry/tap/tap-message.ts'
import { OUTSIDE } from '../../telemetry/traffic/traffic-message.ts'
import { RateLimit } from '../access/rate-limit.ts'

/** Of all processes of one tap. */
const MOST_PER_SECOND = 500
/** Names of processes that cannot be tapped. */
const MOST_NAMED = 100

/** A session, as taps see it. */
export interface TapSession {
  readonly who: { readonly service: string }
  readonly process: string | undefined
  isWatching(service: string): boolean
  send(message: ServerMessage): void
}

export interface TapQuestion extends TapFilter {
  readonly by?: string | undefined
  readonly headers: readonly string[]
  /** Of one process. */
  readonly perSecond: number
  readonly forMs: number
}

/** A call, and which process of which service saw it. */
export interface SeenCall extends TappedCall {
  readonly from: string
  readonly process: string | undefined
}

export interface TapReader {
  /** `left`: calls that matched and are not among `calls`. */
  take(calls: readonly SeenCall[], left: number): void
  over(why: 'time' | 'closing'): void
}

export class TapHub {
  readonly #clock: Clock
  /** Whether each session that was greeted can be tapped. */
  readonly #sessions = new Map<TapSession, boolean>()
  readonly #taps = new Map<string, RegistryTap>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#taps.size
  }

  /** `id`: unique among all registries. */
  open(id: string, question: TapQuestion, reader: TapReader): RegistryTap {
    const tap = new RegistryTap(id, question, reader, this.#clock, (ended) => this.#taps.delete(ended.id))
    this.#taps.set(id, tap)
    for (const [session, isTappable] of this.#sessions) tap.consider(session, isTappable)
    return tap
  }

  /** A session was greeted. */
  begin(session: TapSession, isTappable: boolean): void {
    this.#sessions.set(session, isTappable)
    this.watching(session)
  }

  /** It watches another service. */
  watching(session: TapSession): void {
    if (this.#taps.size === 0) return
    const isTappable = this.#sessions.get(session)
    if (isTappable !== undefined) for (const tap of this.#taps.values()) tap.consider(session, isTappable)
  }

  leave(session: TapSession): void {
    this.#sessions.delete(session)
    for (const tap of this.#taps.values()) tap.leave(session)
  }

  /** What a process sends. @throws SnapshotRejected if it is none */
  report(session: TapSession, message: Readonly<Record<string, unknown>>): void {
    // Before it is read: what no tap waits for costs little.
    const tap = typeof message.tap === 'string' ? this.#taps.get(message.tap) : undefined
    if (tap?.isAsked(session) !== true) return
    const { calls, left = 0, refused } = readTapped(message)
    if (refused === true) tap.refuse(session)
    else tap.take(session, calls, left)
  }

  close(): void {
    for (const tap of [...this.#taps.values()]) tap.finish('closing')
  }
}

export class RegistryTap {
  readonly id: string
  readonly #question: TapQuestion
  readonly #reader: TapReader
  readonly #rate: RateLimit
  readonly #clock: Clock
  readonly #closed: (tap: RegistryTap) => void
  /** With what each may still send: as many as its rate, and those that waited in it. */
  readonly #asked = new Map<TapSession, RateLimit>()
  readonly #notTappable = new Map<TapSession, string>()
  readonly #busy = new Map<TapSession, string>()
  readonly #endsAt: number
  readonly #timer: Timer
  #isOpen = true

  constructor(id: string, question: TapQuestion, reader: TapReader, clock: Clock, closed: (tap: RegistryTap) => void) {
    this.id = id
    this.#question = question
    this.#reader = reader
    this.#clock = clock
    this.#closed = closed
    this.#rate = new RateLimit(MOST_PER_SECOND, MOST_PER_SECOND, clock)
    this.#endsAt = clock.now() + question.forMs
    this.#timer = clock.startBackgroundTimer(question.forMs, () => this.finish('time'), undefined)
  }

  /** Processes that were asked and are connected. */
  get processes(): number {
    return this.#asked.size
  }

  /** Those that refuse, or are of an older version. */
  get notTappable(): readonly string[] {
    return [...this.#notTappable.values()]
  }

  /** Those that were asked and serve as many taps as they may. */
  get busy(): readonly string[] {
    return [...this.#busy.values()].slice(0, MOST_NAMED)
  }

  isAsked(session: TapSession): boolean {
    return this.#asked.has(session)
  }

  consider(session: TapSession, isTappable: boolean): void {
    if (this.#asked.has(session) || this.#busy.has(session) || !this.#concerns(session)) return
    if (!isTappable) {
      if (this.#notTappable.size < MOST_NAMED) this.#notTappable.set(session, nameOf(session))
      return
    }
    this.#asked.set(session, new RateLimit(this.#question.perSecond, TAP_LIMITS.waiting, this.#clock))
    const forMs = Math.max(1_000, Math.round(this.#endsAt - this.#clock.now()))
    session.send({ type: 'tap', tap: this.id, ...this.#question, forMs })
  }

  leave(session: TapSession): void {
    this.#asked.delete(session)
    this.#notTappable.delete(session)
    this.#busy.delete(session)
  }

  /** It was asked, and sends nothing. */
  refuse(session: TapSession): void {
    this.#asked.delete(session)
    this.#busy.set(session, nameOf(session))
  }

  take(session: TapSession, calls: readonly TappedCall[], left: number): void {
    const own = this.#asked.get(session)
    const asked = calls.filter((call) => this.#isAskedFor(session, call))
    const admitted = asked.filter(() => own?.take() === true && this.#rate.take())
    const { service } = session.who
    this.#reader.take(
      admitted.map((call) => ({ from: call.side === 'server' ? OUTSIDE : service, process: session.process, ...call })),
      left + asked.length - admitted.length,
    )
  }

  /**
   * A process may err, or lie about others. Its path is not compared: what is sent may be cut or
   * redacted.
   */
  #isAskedFor({ who }: TapSession, { side, to, protocol, method, status }: TappedCall): boolean {
    const { service, from, method: wanted, statuses } = this.#question
    if (side === 'server' && (who.service !== service || to !== service || (from ?? OUTSIDE) !== OUTSIDE)) return false
    if (side !== 'server' && from !== undefined && from !== who.service) return false
    if (wanted !== undefined && (protocol !== 'http' || method !== wanted)) return false
    return statusMatches(statuses, status)
  }

  /** Its reader has left, or has enough. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#clock.stopTimer(this.#timer)
    this.#closed(this)
    for (const session of this.#asked.keys()) session.send({ type: 'untap', tap: this.id })
    this.#asked.clear()
  }

  /** Its time is over, or the registry stops. */
  finish(why: 'time' | 'closing'): void {
    this.close()
    this.#reader.over(why)
  }

  /** Without a caller, those that call the service now, and the service itself for the rest. */
  #concerns(session: TapSession): boolean {
    const { service, from } = this.#question
    if (from === OUTSIDE) return session.who.service === service
    if (from !== undefined) return session.who.service === from
    return session.who.service === service || session.isWatching(service)
  }
}

function nameOf({ process, who }: TapSession): string {
  return process ?? who.service
}
