/**
 * What a server reports of its load with each answer: requests in flight, how long one takes now,
 * and how long this one took. The time in which a request waits for our event loop is part of both.
 */
import type { Clock } from '../core/clock.ts'
import type { LoadReport } from '../core/load-report.ts'
import { MUX } from '../core/transport.ts'
import type { Connection } from './connection.ts'
import { HANDLER_GRACE_MS } from './inbound-call.ts'
import { LoadMeter } from './load-meter.ts'

/** An estimate serves all answers at a similar load of this time. */
const ESTIMATE_MS = 20
/** Loads up to this have an estimate each; beyond, a quarter of an octave has one. */
const EXACT = 8
const PER_OCTAVE = 4
const ESTIMATES = EXACT + PER_OCTAVE * 24
/** A latency of 0 would not be known. */
const SHORTEST_MS = 0.001
/** Entries that are over and still listed. */
const MOST_OVER = 64

/** A cancelled call whose handler may still run. */
export interface AbandonedCall {
  over: boolean
  readonly until: number
}

export class ServerLoad {
  readonly #clock: Clock
  /** The server identifies no peers. */
  readonly #anonymous: boolean
  readonly #loopWaitMs: (now: number) => number
  readonly #meter = new LoadMeter()
  /** Oldest first. */
  readonly #abandoned: AbandonedCall[] = []
  /** By load. */
  readonly #estimateMs = new Float64Array(ESTIMATES)
  readonly #estimatedAt = new Float64Array(ESTIMATES)

  constructor(clock: Clock, anonymous: boolean, loopWaitMs: (now: number) => number) {
    this.#clock = clock
    this.#anonymous = anonymous
    this.#loopWaitMs = loopWaitMs
  }

  /** A call is admitted. Returns how many others are in flight. */
  arrived(now: number): number {
    if (this.#abandoned.length > 0) this.#forget(now)
    return this.#meter.arrived()
  }

  /** A good answer took `servedMs`, with `others` in flight at its arrival. */
  answered(others: number, servedMs: number): void {
    this.#meter.learn(others, servedMs)
  }

  /** A call ends. */
  ended(): void {
    this.#meter.ended()
  }

  /** It is cancelled, and stays in flight until its handler is done. */
  abandoned(): AbandonedCall {
    const call = { over: false, until: this.#clock.now() + HANDLER_GRACE_MS }
    this.#abandoned.push(call)
    return call
  }

  handlerDone(call: AbandonedCall): void {
    if (call.over) return
    call.over = true
    this.#meter.ended()
  }

  /** How long a call has taken that is answered now. */
  servedMs(startedAt: number, now: number): number {
    return Math.max(SHORTEST_MS, now - startedAt + this.#loopWaitMs(now))
  }

  /**
   * Load is for processes of the mesh to know. Where no peer is identified, only they speak
   * `inmesh/1`.
   */
  reportsTo({ caller, transport }: Connection): boolean {
    return caller !== undefined || (this.#anonymous && transport === MUX)
  }

  /** With the answer of a call that took `servedMs`; `undefined`: no latency is known yet. */
  report(servedMs: number, now: number): LoadReport | undefined {
    const latencyMs = this.#latencyMs(now)
    return latencyMs === 0 ? undefined : { inFlight: this.#meter.inFlight - 1, latencyMs, servedMs }
  }

  #latencyMs(now: number): number {
    const at = estimateOf(this.#meter.inFlight)
    const known = this.#estimateMs[at]!
    if (known > 0 && now - this.#estimatedAt[at]! < ESTIMATE_MS) return known
    const latencyMs = this.#meter.latencyMs()
    this.#estimateMs[at] = latencyMs
    this.#estimatedAt[at] = now
    return latencyMs
  }

  /** Handlers of cancelled calls that do not end count no longer. */
  #forget(now: number): void {
    const all = this.#abandoned
    let over = 0
    while (over < all.length && (all[over]!.over || all[over]!.until <= now)) this.handlerDone(all[over++]!)
    if (over === all.length || over >= MOST_OVER) all.splice(0, over)
  }
}

/** Which estimate serves a load. */
function estimateOf(inFlight: number): number {
  if (inFlight < EXACT) return inFlight
  return Math.min(ESTIMATES - 1, EXACT + Math.floor((Math.log2(inFlight) - Math.log2(EXACT)) * PER_OCTAVE))
}
