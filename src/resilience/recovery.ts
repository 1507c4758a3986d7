/**
 * Recognizes the first good answer after a service had stopped answering. A failure without an
 * answer of what began before it says nothing of the present.
 */
import type { Attempt } from '../core/attempt.ts'

/** Without a good answer for this long, to at least ten calls, a service has stopped answering. */
export const QUIET_MS = 1_000
const UNANSWERED = 10

export class Recovery {
  #at = Number.NEGATIVE_INFINITY
  #goodAt = 0
  /** Since the last good answer. */
  #begun = 0
  #bad = 0
  /**
   * Good answers less failures since the last recovery. A service that fails most calls answers one
   * well now and then: its failures must count.
   */
  #balance = 1

  began(): void {
    this.#begun += 1
  }

  quietMs(now: number): number {
    return now - this.#goodAt
  }

  /** Returns whether this is the first one after a silence, so that the service is back. */
  good(startedAt: number, now: number): boolean {
    const isQuiet = this.#begun >= UNANSWERED && this.quietMs(now) >= QUIET_MS
    // Sent before it fell silent: its answer was late, and the service may not be back.
    if (isQuiet && startedAt < this.#goodAt) return false
    const isBack = isQuiet && this.#balance > 0
    if (isBack) {
      this.#at = now
      this.#balance = 0
    } else this.#balance += 1 - this.#bad
    this.#goodAt = now
    this.#begun = 0
    this.#bad = 0
    return isBack
  }

  /** Whether a failure of `attempt`, or of the call that began at `startedAt`, counts. */
  counts(attempt: Attempt, startedAt = attempt.startedAt): boolean {
    this.#bad += 1
    return startedAt >= this.#at || attempt.begun
  }
}
