/**
 * What one instance of a service takes on, as its documents and its code say it. Enforced by the
 * servers of the service.
 */
import { fields, optional, type Parsed } from '../../options/fields.ts'
import { rate } from '../../options/quantities.ts'
import type { AdaptiveLimitSettings } from './adaptive-limit.ts'
import { type CallerShares, CONCURRENCY_FIELD, type Concurrency, SHARES_FIELD } from './concurrency-limit.ts'

/** What a server of the service takes on at most. */
export interface LimitsOptions {
  /**
   * Requests in progress per instance; more are refused with 503. `'adaptive'`: the limit is found
   * by watching how long requests take.
   * @defaultValue no limit
   */
  readonly concurrency?: Concurrency
  /**
   * By the caller's service, the share of `concurrency` that it can always have; while idle it is
   * everybody's.
   */
  readonly shares?: CallerShares
  /**
   * Requests per second per instance: a number or `'500/s'`; more are refused with 429.
   * @defaultValue no limit
   */
  readonly rate?: number | `${number}/${'s' | 'm' | 'h'}`
}

export interface LimitsSettings {
  readonly concurrency: number | AdaptiveLimitSettings | undefined
  readonly shares?: Readonly<Record<string, number>> | undefined
  readonly ratePerSecond: number | undefined
}

export const NO_LIMITS: LimitsSettings = Object.freeze({
  concurrency: undefined,
  shares: undefined,
  ratePerSecond: undefined,
})

export const LIMITS_FIELDS = fields({
  concurrency: optional(CONCURRENCY_FIELD),
  shares: optional(SHARES_FIELD),
  rate: optional(rate({ min: 0.001, max: 1_000_000 })),
})

/** From checked fields to settings. */
export function limitsSettings(given: Parsed<typeof LIMITS_FIELDS> | undefined): LimitsSettings {
  if (given === undefined) return NO_LIMITS
  const { concurrency, shares, rate: ratePerSecond } = given
  return Object.freeze({ concurrency, shares, ratePerSecond })
}
