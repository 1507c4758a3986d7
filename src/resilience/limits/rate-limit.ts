/**
 * Limits attempts per second by the generic cell rate algorithm (ITU-T I.371). One number instead
 * of a bucket: exact, and it knows when the next attempt is admitted.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import { optional } from '../../options/fields.ts'
import { duration, integer, rate } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'

/** The rates that can be enforced. */
export const RATES = { min: 0.001, max: 1_000_000 }

const definition = definePolicy(
  'rateLimit',
  {
    /** Calls per second and process: a number, or text such as `'500/s'`, `'30/m'`. */
    rate: rate(RATES),
    /**
     * Calls that may come at once after a pause. @defaultValue as many as one second allows, at
     * least 1
     */
    burst: optional(integer({ min: 1, max: 1_000_000 })),
    /**
     * A call that would be admitted within this time waits for its turn; others are refused at
     * once.
     * @defaultValue no wait
     */
    maxWait: optional(duration({ max: 3_600_000 })),
  },
  ({ ratePerSecond, burst, maxWaitMs }) => ({
    ratePerSecond,
    maxWaitMs,
    burst: burst ?? Math.max(1, Math.floor(ratePerSecond)),
  }),
)

/** How often something may be done. */
export interface RateLimitOptions extends OptionsOf<typeof definition> {}
/** `maxWaitMs` is kept by the caller of the policy: a policy does not wait. */
export interface RateLimitSettings extends SettingsOf<typeof definition> {}
export const RATE_LIMIT: PolicyDefinition<RateLimitOptions, RateLimitSettings> = definition

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

  configure({ ratePerSecond, burst }: Pick<RateLimitSettings, 'ratePerSecond' | 'burst'>): void {
    const intervalMs = 1_000 / ratePerSecond
    const now = this.#clock.now()
    // What is not paid for yet is a number of attempts: at another rate it takes another time. At
    // the highest, the next attempt waits for one interval.
    if (this.#paidAt > now) {
      const unpaid = (this.#paidAt - now) / this.#intervalMs
      this.#paidAt = now + Math.min(unpaid, burst) * intervalMs
    }
    this.#intervalMs = intervalMs
    this.#toleranceMs = (burst - 1) * intervalMs
  }

  /** How long until the next attempt would be admitted; 0 = now. */
  get retryAfterMs(): number {
    return Math.max(0, this.#paidAt - this.#toleranceMs - this.#clock.now())
  }

  /** Whether its whole burst is there, as in a new one. */
  get isFull(): boolean {
    return this.#paidAt <= this.#clock.now()
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
