/** One clock for all processes of a run, and how late the event loop of each is. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

/** Monotonic, and the same in every process of one machine. In ms. */
export function runNow(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

const SAMPLE_MS = 10

/** In ms, beyond what a timer takes in a loop that only waits. */
export interface LoopDelay {
  readonly p99Ms: number
  readonly maxMs: number
}

export class LoopDelayMeter {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: SAMPLE_MS })

  constructor() {
    this.#histogram.enable()
  }

  /** Since it was last taken. */
  take(): LoopDelay {
    const beyond = (ns: number): number => Math.max(0, ns / 1e6 - SAMPLE_MS)
    const delay = { p99Ms: beyond(this.#histogram.percentile(99)), maxMs: beyond(this.#histogram.max) }
    this.#histogram.reset()
    return delay
  }
}
