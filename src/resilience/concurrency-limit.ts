/** At most so many attempts at once; what comes beyond is refused at once, so that what runs stays fast. */
import type { Attempt } from '../core/attempt.ts'
import { check, fields, integer } from '../core/fields.ts'
import type { Policy } from '../core/policy.ts'

/** How much may run at once. */
export interface ConcurrencyLimitOptions {
  /** Attempts in progress; at least 1. */
  readonly concurrency: number
}

export interface ConcurrencyLimitSettings {
  readonly concurrency: number
}

export const CONCURRENCY_LIMIT_FIELDS = fields({ concurrency: integer({ min: 1, max: 1_000_000 }) })

/** Validates. There is no default: what a process can take on is its own. @throws OptionsError */
export function resolveConcurrencyLimit(options: ConcurrencyLimitOptions, what = 'bulkhead'): ConcurrencyLimitSettings {
  return check(CONCURRENCY_LIMIT_FIELDS, options, what)
}

export class ConcurrencyLimitPolicy implements Policy {
  readonly name = 'concurrency-limit'
  #limit: number
  #inFlight = 0

  constructor(settings: ConcurrencyLimitSettings) {
    this.#limit = settings.concurrency
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get limit(): number {
    return this.#limit
  }

  /** What runs beyond a lowered limit is left to end. */
  configure(settings: ConcurrencyLimitSettings): void {
    this.#limit = settings.concurrency
  }

  admit(attempt: Attempt): 'concurrency-limited' | undefined {
    if (this.#inFlight >= this.#limit) return 'concurrency-limited'
    this.#inFlight += 1
    attempt.inFlightAtStart = this.#inFlight
    return undefined
  }

  settle(): void {
    this.#inFlight -= 1
  }
}
