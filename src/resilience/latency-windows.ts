/**
 * Latencies of one service over the last three complete windows of ten seconds. The current window
 * does not count: its slowest calls have not ended, so its percentiles would be too low.
 */
import type { Clock } from '../core/clock.ts'

/** Finagle's `WindowedPercentileHistogram`: 3 buckets of 10 s. */
const WINDOW_MS = 10_000
const WINDOWS = 3
/** Eight steps a doubling, from 0.1 ms to 26 s: any value is known to a tenth of itself. */
const STEPS = 8
const LOWEST_MS = 0.1
const COUNT = STEPS * 18
/** A percentile with fewer values than this above it is chance. */
const FEWEST_ABOVE = 5

export class LatencyWindows {
  readonly #clock: Clock
  /** One more than there are whole windows: the one being filled. */
  readonly #counts = Array.from({ length: WINDOWS + 1 }, () => new Uint32Array(COUNT))
  #window: number
  readonly #begun: number
  #percentile = -1
  #value = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
    this.#window = Math.floor(clock.now() / WINDOW_MS)
    // It began before we did, so it will not be whole.
    this.#begun = this.#window
  }

  record(ms: number, now = this.#clock.now()): void {
    this.#turn(now)
    if (this.#window === this.#begun) return
    const step = ms <= LOWEST_MS ? 0 : Math.min(COUNT - 1, Math.ceil(Math.log2(ms / LOWEST_MS) * STEPS))
    this.#counts[this.#window % (WINDOWS + 1)]![step]! += 1
  }

  /**
   * The duration in ms within which the share `p` of all ended, at most a tenth too high; Infinity
   * while too little is known.
   */
  percentile(p: number): number {
    this.#turn(this.#clock.now())
    if (p === this.#percentile) return this.#value
    this.#percentile = p
    this.#value = this.#compute(p)
    return this.#value
  }

  #compute(p: number): number {
    const live = this.#window % (WINDOWS + 1)
    let total = 0
    for (const [i, counts] of this.#counts.entries()) if (i !== live) for (const n of counts) total += n
    if (total * (1 - p) < FEWEST_ABOVE) return Number.POSITIVE_INFINITY
    const rank = Math.ceil(total * p)
    let seen = 0
    for (let step = 0; step < COUNT; step++) {
      for (const [i, counts] of this.#counts.entries()) if (i !== live) seen += counts[step]!
      if (seen >= rank) return step === COUNT - 1 ? Number.POSITIVE_INFINITY : LOWEST_MS * 2 ** (step / STEPS)
    }
    return Number.POSITIVE_INFINITY
  }

  #turn(now: number): void {
    const window = Math.floor(now / WINDOW_MS)
    if (window <= this.#window) return
    const passed = Math.min(window - this.#window, WINDOWS + 1)
    for (let i = 0; i < passed; i++) this.#counts[(window - i) % (WINDOWS + 1)]!.fill(0)
    this.#window = window
    this.#percentile = -1
  }
}
