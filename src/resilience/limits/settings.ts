/** The limits that each server of a service enforces. */
import { optional } from '../../options/fields.ts'
import { rate } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, offByDefault, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'
import { CALLER_SHARES, CONCURRENCY } from './concurrency-limit.ts'
import { GLOBAL_RATE } from './global-rate-settings.ts'
import { RATES } from './rate-limit.ts'

const definition = definePolicy('limits', {
  /**
   * Requests in progress per instance; more are refused with 503. `'adaptive'`: the limit is found
   * by watching how long requests take.
   * @defaultValue no limit
   */
  concurrency: optional(CONCURRENCY),
  /**
   * By the caller's service, the share of `concurrency` that it can always have, at most 100
   * callers and together at most 100 %; while it is idle, all callers may use it.
   * @defaultValue none
   */
  shares: optional(CALLER_SHARES),
  /**
   * Requests per second per instance: a number, or text such as `'500/s'`, `'30/m'`; more are
   * refused with 429.
   * @defaultValue no limit
   */
  rate: optional(rate(RATES)),
  /**
   * The rate of the whole service: the registry leases shares of it to the instances. Beside `rate`
   * both hold; `false`: none, whatever the document of `mesh` says.
   * @defaultValue no limit
   */
  global: offByDefault(GLOBAL_RATE),
})

/** The limits of a service's servers. */
export interface LimitsOptions extends OptionsOf<typeof definition> {}
export interface LimitsSettings extends SettingsOf<typeof definition> {}
export const LIMITS: PolicyDefinition<LimitsOptions, LimitsSettings> = definition
