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
import type { OrcaAudience } from './orca-audience.ts'
import type { ProcessLoad } from './process-load.ts'

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

/** A call that is answered. */
export interface Answered {
  readonly connection: Connection
  /** Its caller is a client of the mesh. */
  readonly fromMesh: boolean
  /** How its protocol carries ORCA. */
  readonly orcaForm: 'text' | 'binary'
}

/** What an answer says of our load: to clients of the mesh, and to others in the form of ORCA. */
export interface AnswerLoad {
  readonly mesh: LoadReport | undefined
  readonly orca: string | undefined
}

/** What a server needs to report. */
export interface ServerLoadParts {
  readonly clock: Clock
  /** The server identifies no peers. */
  readonly anonymous: boolean
  readonly orca: OrcaAudience
  readonly process: ProcessLoad
  readonly loopWaitMs: (now: number) => number
}

/** A cancelled call whose handler may still run. */
export interface AbandonedCall {
  over: boolean
  readonly until: number
}

export class ServerLoad {
  readonly #parts: ServerLoadParts
  readonly #meter = new LoadMeter()
  /** Oldest first. */
  readonly #abandoned: AbandonedCall[] = []
  /** By load. */
  readonly #estimateMs = new Float64Array(ESTIMATES)
  readonly #estimatedAt = new Float64Array(ESTIMATES)

  constructor(parts: ServerLoadParts) {
    this.#parts = parts
  }

  /** A call is admitted. Returns how many others are in flight. */
  arrived(now: number): number {
    this.#forget(now)
    return this.#meter.arrived()
  }

  /** A good answer took `servedMs`, with `others` in flight at its arrival. */
  answered(others: number, servedMs: number): void {
    this.#meter.learn(others, servedMs)
  }

  /** A call ends. `failed`: by our fault. */
  ended(failed: boolean): void {
    this.#meter.ended()
    this.#parts.process.ended(failed)
  }

  /** It is cancelled, and stays in flight until its handler is done. */
  abandoned(): AbandonedCall {
    const { clock, process } = this.#parts
    const call = { over: false, until: clock.now() + HANDLER_GRACE_MS }
    this.#abandoned.push(call)
    process.ended(false)
    return call
  }

  handlerDone(call: AbandonedCall): void {
    if (call.over) return
    call.over = true
    this.#meter.ended()
  }

  /** How long a call has taken that is answered now. */
  servedMs(startedAt: number, now: number): number {
    return Math.max(SHORTEST_MS, now - startedAt + this.#parts.loopWaitMs(now))
  }

  /** With the answer of a call that took `servedMs`; `undefined`: nothing is said. */
  answer(answered: Answered, servedMs: number, now: number): AnswerLoad | undefined {
    const toMesh = this.#reportsTo(answered.connection)
    const toOthers = this.#reportsOrcaTo(answered)
    if (!toMesh && !toOthers) return undefined
    const report = this.report(servedMs, now)
    const orca = toOthers ? this.#orca(answered, report, now) : undefined
    return report === undefined && orca === undefined ? undefined : { mesh: toMesh ? report : undefined, orca }
  }

  /** With the end of a stream, which takes as long as its caller wants. */
  answerStream(answered: Answered, now: number): AnswerLoad | undefined {
    const orca = this.#reportsOrcaTo(answered) ? this.#orca(answered, undefined, now) : undefined
    return orca === undefined ? undefined : { mesh: undefined, orca }
  }

  /**
   * Load is for processes of the mesh to know. Where no peer is identified, only they speak
   * `inmesh/1`.
   */
  #reportsTo({ caller, transport }: Connection): boolean {
    return caller !== undefined || (this.#parts.anonymous && transport === MUX)
  }

  #reportsOrcaTo({ connection: { caller, transport }, fromMesh }: Answered): boolean {
    const { orca } = this.#parts
    if (fromMesh || transport === MUX || orca === false) return false
    return orca === 'all' || caller !== undefined
  }

  #orca({ orcaForm }: Answered, report: LoadReport | undefined, now: number): string | undefined {
    const { process } = this.#parts
    return orcaForm === 'text' ? process.text(report, now) : process.binary(report, now)
  }

  /** With the answer of a call that took `servedMs`; `undefined`: no latency is known yet. */
  report(servedMs: number, now: number): LoadReport | undefined {
    this.#forget(now)
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
    if (all.length === 0) return
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
