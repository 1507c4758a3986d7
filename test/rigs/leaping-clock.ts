/**
 * The system clock with a wrong wall time, until a test makes it leap to the right one, as after a
 * sleep.
 */
import { type Clock, systemClock, type Timer } from '../../src/core/clock.ts'

export class LeapingClock implements Clock {
  #behindMs: number
  #passedMs = 0

  /** What OpenSSL reads is so far ahead of this clock until {@link leap}. */
  constructor(behindMs: number) {
    this.#behindMs = behindMs
  }

  /** To the right time, or to so far ahead of it. */
  leap(aheadMs = 0): void {
    this.#behindMs = -aheadMs
  }

  /** Time passes by the monotonic clock, without a wait. */
  pass(ms: number): void {
    this.#passedMs += ms
  }

  now(): number {
    return systemClock.now() + this.#passedMs
  }

  wallNow(): number {
    return systemClock.wallNow() - this.#behindMs + this.#passedMs
  }

  random(): number {
    return systemClock.random()
  }

  startTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return systemClock.startTimer(ms, fire, context)
  }

  startBackgroundTimer<T>(ms: number, fire: (context: T) => void, context: T): Timer {
    return systemClock.startBackgroundTimer(ms, fire, context)
  }

  stopTimer(timer: Timer): void {
    systemClock.stopTimer(timer)
  }

  stalledMsSince(at: number): number {
    return systemClock.stalledMsSince(at - this.#passedMs)
  }
}
