/**
 * A timer for calendar dates, such as the end of a certificate. It checks both clocks: the
 * monotonic one stops during sleep, and the wall clock may be set.
 */
import { certificateTimeOf } from './certificate-time.ts'
import type { Clock, Timer } from './clock.ts'

/**
 * How long after waking up a timer is late at most. A look costs 75 µs of CPU when the process
 * sleeps otherwise.
 */
const LOOK_MS = 2_000
/** A wall clock that is corrected in small steps (NTP) does not count. */
const STEP_MS = 1_000

export class WallTimer {
  readonly #clock: Clock
  readonly #fire: () => void
  readonly #dueAt: number
  readonly #dueWallAt: number
  /** The wall clock must not be behind this at the next look. */
  #wallAt: number
  #timer: Timer | undefined

  /**
   * Fires once after `ms` by either clock, or early when the wall clock has been put back: the
   * owner then judges anew. Never keeps the process alive.
   */
  constructor(clock: Clock, ms: number, fire: () => void) {
    this.#clock = clock
    certificateTimeOf(clock).now()
    this.#fire = fire
    this.#dueAt = clock.now() + ms
    this.#wallAt = clock.wallNow()
    this.#dueWallAt = this.#wallAt + ms
    this.#wait()
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #wait(): void {
    const ms = Math.max(0, Math.min(LOOK_MS, this.#dueAt - this.#clock.now()))
    this.#timer = this.#clock.startBackgroundTimer(ms, () => this.#look(), undefined)
  }

  #look(): void {
    // So that no leap goes unnoticed for longer, and slow drift is never taken for one.
    certificateTimeOf(this.#clock).now()
    const wallNow = this.#clock.wallNow()
    const putBack = wallNow < this.#wallAt - STEP_MS
    this.#wallAt = wallNow
    this.#timer = undefined
    if (putBack || wallNow >= this.#dueWallAt || this.#clock.now() >= this.#dueAt) this.#fire()
    else this.#wait()
  }
}
