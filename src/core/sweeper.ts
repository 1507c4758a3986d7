/**
 * Housekeeping at an interval, while there is something to keep. It does not keep the process
 * alive.
 */
import type { Clock, Timer } from './clock.ts'

/** What is swept. */
export interface Swept {
  /** Whether there is something left to sweep. */
  sweep(now: number): boolean
}

export class Sweeper {
  readonly #clock: Clock
  readonly #ms: number
  readonly #swept: Swept
  #timer: Timer | undefined = undefined

  constructor(clock: Clock, ms: number, swept: Swept) {
    this.#clock = clock
    this.#ms = ms
    this.#swept = swept
  }

  /** There is something to sweep. */
  start(): void {
    this.#timer ??= this.#clock.startBackgroundTimer(this.#ms, due, this)
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  /** @internal */
  due(): void {
    this.#timer = undefined
    if (this.#swept.sweep(this.#clock.now())) this.start()
  }
}

function due(sweeper: Sweeper): void {
  sweeper.due()
}
