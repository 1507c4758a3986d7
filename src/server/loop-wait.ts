/**
 * How long a request waits for our event loop before it is seen, as a mean over the last moments.
 * No timestamp of a request shows it: its time begins when the loop reads it.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { systemClock } from '../core/clock.ts'

/** The histogram records the distance between samples, so this much is no delay. */
const SAMPLE_MS = 20
/** A timer is late by this much in a loop that only waits. */
const TIMER_MS = 1
const WINDOW_MS = 200
/** Sampling costs 0.3 % of a core, so it stops this long after the last question. */
const IDLE_MS = 5_000

class LoopWait {
  #histogram: IntervalHistogram | undefined
  #since = 0
  #askedAt = 0
  #waitMs = 0

  /** In ms; 0 until it is known. */
  ms(now: number): number {
    this.#askedAt = now
    if (this.#histogram === undefined) this.#start(now)
    else if (now - this.#since >= WINDOW_MS) this.#look(this.#histogram, now)
    return this.#waitMs
  }

  #start(now: number): void {
    this.#histogram = monitorEventLoopDelay({ resolution: SAMPLE_MS })
    this.#histogram.enable()
    this.#since = now
    this.#waitMs = 0
    this.#stopWhenIdle()
  }

  #look(histogram: IntervalHistogram, now: number): void {
    // Without a sample in all this time, this turn of the loop has lasted as long.
    const delay = histogram.count > 0 ? histogram.mean / 1e6 - SAMPLE_MS - TIMER_MS : (now - this.#since) / 2
    this.#waitMs = Math.max(0, delay)
    histogram.reset()
    this.#since = now
  }

  #stopWhenIdle(): void {
    systemClock.startBackgroundTimer(IDLE_MS, stopIfIdle, this)
  }

  /** @internal */
  stopIfIdle(): void {
    if (systemClock.now() - this.#askedAt < IDLE_MS) {
      this.#stopWhenIdle()
      return
    }
    this.#histogram?.disable()
    this.#histogram = undefined
  }
}

function stopIfIdle(wait: LoopWait): void {
  wait.stopIfIdle()
}

const ours = new LoopWait()

/** Of this process; in ms. `now`: on the system's clock. */
export function loopWaitMs(now: number): number {
  return ours.ms(now)
}
