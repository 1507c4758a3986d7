/** The rate of a whole service, over all its instances. */
import { list, oneOf, optional } from '../../options/fields.ts'
import { rate } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../define-policy.ts'
import { RATES } from './rate-limit.ts'

const definition = definePolicy(
  'limits.global',
  {
    /**
     * Requests per second to all instances together: a number, or text such as `'1000/s'`,
     * `'30/m'`; more are refused with 429.
     */
    rate: rate(RATES),
    /**
     * `[caller]`: each calling service has the rate for itself. Callers without a certificate count
     * as one.
     * @defaultValue all callers together
     */
    by: optional(list(oneOf(['caller']), { min: 1, max: 1 })),
  },
  ({ ratePerSecond, by }) => ({ ratePerSecond, byCaller: by !== undefined }),
)

/** The rate of a whole service. */
export interface GlobalRateOptions extends OptionsOf<typeof definition> {}
export interface GlobalRateSettings extends SettingsOf<typeof definition> {}
export const GLOBAL_RATE: PolicyDefinition<GlobalRateOptions, GlobalRateSettings> = definition
