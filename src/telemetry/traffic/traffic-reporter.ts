/**
 * Reports what a process has counted, at the interval that the registry asks for.
 *
 * - `off` → `idle`: a registry asks; anything → `off`: one that does not ask has greeted us
 * - `idle` → `counting`: something was counted; a timer runs until the report
 * - `counting` → `idle`: it was sent
 * - `counting` → `counting`: there is no session, or its stream is full; what was counted is kept
 *   for the next time, and dropped after 60 s
 */
import type { Clock, Timer } from '../../core/clock.ts'
import type { DatedMark, TrafficCounts } from './traffic-counts.ts'
import { TRAFFIC_LIMITS, type TrafficMark, type TrafficMessage, type TrafficSeries } from './traffic-message.ts'

/** What was counted longer ago is not reported: the registry shows a gap. */
const KEPT_MS = 60_000
/** Of a message besides its series and servers: 50 marks of six names, and some numbers. */
const HEAD_BYTES = 64 * 1024
/** As many series fit into one message, however long their names are. */
const ALWAYS_FIT = 24

/** The session with the registry. */
export interface TrafficSession {
  /** It stands, and its stream is not full. */
  readonly isReady: boolean
  send(message: TrafficMessage): void
}

export interface TrafficReporterOptions {
  readonly counts: TrafficCounts
  readonly clock: Clock
  readonly session: TrafficSession
  /** The states that hold when a session begins. */
  readonly present: () => Iterable<Omit<TrafficMark, 'at'>>
}

export class TrafficReporter {
  readonly #options: TrafficReporterOptions
  /** 0: the registry does not ask. */
  #everyMs = 0
  #sequence = 0
  #timer: Timer | undefined
  /** What was counted is of the time from here on. */
  #since = 0
  #reportedAt = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(options: TrafficReporterOptions) {
    this.#options = options
  }

  /** A registry has greeted us. `everyMs`: how often it asks; `undefined`: not at all. */
  greeted(everyMs: number | undefined): void {
    if (this.#closed) return
    const { counts, clock, present } = this.#options
    if (everyMs === undefined) {
      this.#stop()
      return
    }
    this.#everyMs = everyMs
    this.#sequence = 0
    if (!counts.on) counts.start(() => this.#begin())
    else if (clock.now() - this.#since > KEPT_MS) this.#drop()
    counts.startAnew()
    for (const mark of present()) counts.mark(mark, clock.now())
  }

  /** Reports what is left, and counts no more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== undefined) this.#send()
    this.#stop()
  }

  #stop(): void {
    this.#everyMs = 0
    this.#options.counts.stop()
    this.#stopTimer()
  }

  /** Something was counted, the first since the last report. */
  #begin(): void {
    if (this.#timer !== undefined) return
    const now = this.#options.clock.now()
    // While calls go on, one report begins where the last has ended; after a pause, now.
    this.#since = now - this.#reportedAt < this.#everyMs ? this.#reportedAt : now
    this.#startTimer(Math.max(0, this.#since + this.#everyMs - now))
  }

  #due(): void {
    this.#timer = undefined
    const { clock } = this.#options
    if (this.#send()) return
    if (clock.now() - this.#since >= KEPT_MS) this.#drop()
    else this.#startTimer(this.#everyMs)
  }

  /** What is too old. */
  #drop(): void {
    this.#stopTimer()
    this.#options.counts.clear()
  }

  #send(): boolean {
    const { counts, clock, session } = this.#options
    if (!session.isReady) return false
    const now = clock.now()
    const forMs = Math.min(TRAFFIC_LIMITS.forMs, Math.round(now - this.#since))
    this.#reportedAt = now
    const { series, left, served, marks, marksLeft } = counts.take()
    const once = {
      ...(served.length > 0 && { served }),
      ...(left > 0 && { left }),
      ...(marks.length > 0 && { marks: marks.map((mark) => dated(mark, now)) }),
      ...(marksLeft > 0 && { marksLeft }),
    }
    const bytes = HEAD_BYTES + (served.length > 0 ? sizeOf(served) : 0)
    for (const [i, portion] of portions(series, bytes).entries()) {
      this.#sequence += 1
      session.send({ type: 'traffic', sequence: this.#sequence, forMs, series: portion, ...(i === 0 && once) })
    }
    return true
  }

  #startTimer(ms: number): void {
    this.#timer = this.#options.clock.startBackgroundTimer(ms, () => this.#due(), undefined)
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#options.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}

function dated({ mark, madeAt }: DatedMark, now: number): TrafficMark {
  return { at: -Math.min(TRAFFIC_LIMITS.markAgeMs, Math.max(0, Math.round(now - madeAt))), ...mark }
}

/** At least one; each fits into one message. `head`: bytes of the first one besides its series. */
function portions(series: readonly TrafficSeries[], head: number): (readonly TrafficSeries[])[] {
  if (series.length <= ALWAYS_FIT && head === HEAD_BYTES) return [series]
  const all: TrafficSeries[][] = [[]]
  let left = TRAFFIC_LIMITS.messageBytes - head
  for (const one of series) {
    const bytes = sizeOf(one) + 1
    if (bytes > left) {
      all.push([])
      left = TRAFFIC_LIMITS.messageBytes - HEAD_BYTES
    }
    left -= bytes
    all.at(-1)!.push(one)
  }
  return all
}

function sizeOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value))
}
