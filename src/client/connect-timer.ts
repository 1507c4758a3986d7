/**
 * Connect timeout. If our event loop stalled, the deadline is extended once by the length of the
 * stall.
 */
import type { Clock, Timer } from '../core/clock.ts'

/** The owner of a connection attempt. */
interface Dialing {
  tooSlow(error: Error): void
}

export class ConnectTimer {
  readonly #clock: Clock
  readonly #ms: number
  readonly #label: string
  readonly #dialing: Dialing
  #timer: Timer | undefined
  #extended = false

  /** `label`: of the endpoint, for the error. */
  constructor(clock: Clock, ms: number, label: string, dialing: Dialing) {
    this.#clock = clock
    this.#ms = ms
    this.#label = label
    this.#dialing = dialing
  }

  start(): void {
    // The clock watches the loop only while somebody asks.
    this.#clock.stalledMsSince(this.#clock.now())
    this.#timer = this.#clock.startTimer(this.#ms, over, this)
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  over(): void {
    const stalledMs = this.#extended ? 0 : Math.round(this.#clock.stalledMsSince(this.#clock.now() - this.#ms))
    if (stalledMs > 0) {
      this.#extended = true
      this.#timer = this.#clock.startTimer(stalledMs, over, this)
      return
    }
    this.#timer = undefined
    this.#dialing.tooSlow(new Error(`no connection to ${this.#label} within ${this.#ms} ms`))
  }
}

function over(timer: ConnectTimer): void {
  timer.over()
}
