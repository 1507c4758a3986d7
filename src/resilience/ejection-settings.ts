/** When an endpoint is ejected, for how long, and how much of a service at once. */
import { withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'

const definition = definePolicy(
  'ejection',
  {
    /** Failures in a row that eject. @defaultValue `5` (Finagle) */
    consecutiveFailures: withDefault(integer({ min: 1, max: 1_000 }), 5),
    /**
     * Share of failed attempts within 10 s that ejects: `'50%'` or 0.5. @defaultValue `'50%'`
     * (opossum, linkerd2)
     */
    errorThreshold: withDefault(share({ min: 0.01 }), '50%'),
    /**
     * How much more often than the others together an endpoint fails, within 30 s, for it to be
     * ejected: `'10%'` or 0.1; `'100%'`: never. @defaultValue `'10%'` (by simulation)
     */
    outlierThreshold: withDefault(share({ min: 0.01 }), '10%'),
    /** Attempts within 10 s below which shares say nothing. @defaultValue `10` */
    minimumCalls: withDefault(integer({ min: 1, max: 100_000 }), 10),
    /**
     * Length of the first ejection; each further one is four times as long, and up to 10 % shorter
     * by chance. @defaultValue `'1s'` (measured)
     */
    baseTime: withDefault(duration({ min: 1, max: 600_000 }), '1s'),
    /** Longest ejection; not below `baseTime`. @defaultValue `'10s'` (measured) */
    maxTime: withDefault(duration({ min: 1, max: 3_600_000 }), '10s'),
    /**
     * Share, of the endpoints that can be connected to, beyond which ejections are ignored (panic):
     * `'50%'` or 0.5. @defaultValue `'50%'`
     */
    maxShare: withDefault(share(), '50%'),
  },
  (settings) => ({ ...settings, maxTimeMs: Math.max(settings.baseTimeMs, settings.maxTimeMs) }),
)

/** When an endpoint is ejected and for how long. */
export interface EjectionOptions extends OptionsOf<typeof definition> {}
export interface EjectionSettings extends SettingsOf<typeof definition> {}
export const EJECTION: PolicyDefinition<EjectionOptions, EjectionSettings> = definition
