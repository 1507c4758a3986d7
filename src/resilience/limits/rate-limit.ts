/**
 * At most so many attempts per second. The generic cell rate algorithm (ITU-T I.371): one number
 * instead of a bucket that needs filling, exact, and it knows when the next attempt will be
 * admitted.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import type { Duration } from '../../options/duration.ts'
import { check, fields, optional } from '../../options/fields.ts'
import { duration, integer, rate } from '../../options/quantities.ts'

/** How often something may be done. */
export interface RateLimitOptions {
  /** A number per second, or text such as `'500/s'`, `'30/m'`. */
  readonly rate: number | `${number}/${'s' | 'm' | 'h'}`
  /**
   * So many may come at once after a pause. @defaultValue as many as one second allows, at least 1
   */
  readonly burst?: number
  /**
   * A call that would be admitted within this time waits for its turn; others are refused at once.
   * @defaultValue no wait
   */
  readonly maxWait?: Duration
}

export interface RateLimitSettings {
  readonly ratePerSecond: number
  readonly burst: number
  /** Kept by the door: a policy does not wait. */
  readonly maxWaitMs?: number | undefined
}

export const RATE_LIMIT_FIELDS = fields({
  rate: rate({ min: 0.001, max: 1_000_000 }),
  burst: optional(integer({ min: 1, max: 1_000_000 })),
  maxWait: optional(duration({ max: 3_600_000 })),
})

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveRateLimit(options: RateLimitOptions, what = 'rateLimit'): RateLimitSettings {
  const given = check(RATE_LIMIT_FIELDS, options, what)
  return rateLimitSettings(given.rate, given.burst, given.maxWait)
}

/** From checked values to settings. */
export function rateLimitSettings(ratePerSecond: number, burst?: number, maxWaitMs?: number): RateLimitSettings {
  return Object.freeze({ ratePerSecond, maxWaitMs, burst: burst ?? Math.max(1, Math.floor(ratePerSecond)) })
}

export class RateLimitPolicy implements Policy {
  readonly name = 'rate-limit'
  readonly #clock: Clock
  #intervalMs = 0
  #toleranceMs = 0
  /** When all that was admitted will have been paid for. */
  #paidAt = Number.NEGATIVE_INFINITY

  constructor(settings: RateLimitSettings, clock: Clock) {
    this.#clock = clock
    this.configure(settings)
  }

  configure(settings: RateLimitSettings): void {
    this.#intervalMs = 1_000 / settings.ratePerSecond
    this.#toleranceMs = (settings.burst - 1) * this.#intervalMs
  }

  /** How long until the next attempt would be admitted; 0 = now. */
  get retryAfterMs(): number {
    return Math.max(0, this.#paidAt - this.#toleranceMs - this.#clock.now())
  }

  admit(attempt?: Attempt): 'rate-limited' | undefined {
    const now = attempt?.startedAt || this.#clock.now()
    // A nanosecond of grace: sums of intervals are not exact.
    if (this.#paidAt - this.#toleranceMs > now + 1e-6) return 'rate-limited'
    this.#paidAt = Math.max(this.#paidAt, now) + this.#intervalMs
    return undefined
  }

  /** Gives back what was not used, if a later policy refused. */
  settle(_attempt: Attempt, outcome: Outcome): void {
    if (outcome === NOT_STARTED) this.#paidAt -= this.#intervalMs
  }
}
