/**
 * How long a stage has lasted, by the clock that has gone less far: no leap of the wall clock ends
 * a stage early, and certificates that end by the wall clock have ended when the stage does.
 */
import type { Clock } from '../../core/clock.ts'

/** A stage that begins later than now by more was begun by a clock that was wrong then. */
const MOST_AHEAD_MS = 60_000

export interface StageTime {
  /** Wall clock, ms: when the stage began. */
  readonly since: number
  /** By monotonic clocks, also those of earlier processes, up to the last note. */
  readonly waitedMs: number
}

export class StageWait {
  readonly #clock: Clock
  /** Monotonic: when this process began to count. */
  readonly #from: number
  readonly #noted: StageTime

  constructor(clock: Clock, noted: StageTime) {
    this.#clock = clock
    this.#from = clock.now()
    this.#noted = noted
  }

  /** Never more than what either clock shows. The time in which no registry counted is left out. */
  get waitedMs(): number {
    const wallMs = this.#clock.wallNow() - this.#noted.since
    return Math.max(0, Math.min(this.#monotonicMs, wallMs))
  }

  /** What to note, so that the next leader goes on from here. */
  get note(): StageTime {
    const wallNow = this.#clock.wallNow()
    // What was signed by that clock was renewed by the age of its certificate (`rotation.ts`).
    if (wallNow < this.#noted.since - MOST_AHEAD_MS) return { since: wallNow, waitedMs: 0 }
    return { since: this.#noted.since, waitedMs: Math.round(this.#monotonicMs) }
  }

  get #monotonicMs(): number {
    return this.#noted.waitedMs + (this.#clock.now() - this.#from)
  }
}
