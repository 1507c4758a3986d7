/** When an endpoint is ejected, for how long, and how much of a service at once. */
import { type Duration, formatDuration } from '../options/duration.ts'
import { check, fields, withDefault } from '../options/fields.ts'
import { duration, integer, share } from '../options/quantities.ts'

/** When an endpoint is ejected and for how long. */
export interface EjectionOptions {
  /** Failures in a row that eject. @defaultValue 5 (Finagle) */
  readonly consecutiveFailures?: number
  /**
   * Share of failed attempts within 10 s at which it is ejected: `'50%'` or 0.5. @defaultValue
   * `'50%'`
   */
  readonly errorThreshold?: number | `${number}%`
  /** Attempts within 10 s below which the share says nothing. @defaultValue 10 */
  readonly minimumCalls?: number
  /** Length of the first ejection; each further one is four times as long. @defaultValue `'1s'` */
  readonly baseTime?: Duration
  /** Longest ejection. @defaultValue `'10s'` */
  readonly maxTime?: Duration
  /**
   * Share, of the endpoints that can be connected to, beyond which ejections are ignored: `'50%'`
   * or 0.5. @defaultValue `'50%'`
   */
  readonly maxShare?: number | `${number}%`
}

export interface EjectionSettings {
  readonly consecutiveFailures: number
  readonly errorThreshold: number
  readonly minimumCalls: number
  readonly baseTimeMs: number
  readonly maxTimeMs: number
  readonly maxShare: number
}

/**
 * Finagle's consecutiveFailures(5); the share of opossum's and linkerd2's window; holds measured in
 * algorithms.md, 5b.
 */
export const EJECTION_DEFAULTS: EjectionSettings = Object.freeze({
  consecutiveFailures: 5,
  errorThreshold: 0.5,
  minimumCalls: 10,
  baseTimeMs: 1_000,
  maxTimeMs: 10_000,
  maxShare: 0.5,
})

export const EJECTION_FIELDS = fields({
  consecutiveFailures: withDefault(integer({ min: 1, max: 1_000 }), EJECTION_DEFAULTS.consecutiveFailures),
  errorThreshold: withDefault(share({ min: 0.01 }), EJECTION_DEFAULTS.errorThreshold, '50%'),
  minimumCalls: withDefault(integer({ min: 1, max: 100_000 }), EJECTION_DEFAULTS.minimumCalls),
  baseTime: withDefault(
    duration({ min: 1, max: 600_000 }),
    EJECTION_DEFAULTS.baseTimeMs,
    formatDuration(EJECTION_DEFAULTS.baseTimeMs),
  ),
  maxTime: withDefault(
    duration({ min: 1, max: 3_600_000 }),
    EJECTION_DEFAULTS.maxTimeMs,
    formatDuration(EJECTION_DEFAULTS.maxTimeMs),
  ),
  maxShare: withDefault(share(), EJECTION_DEFAULTS.maxShare, '50%'),
})

type Given = ReturnType<(typeof EJECTION_FIELDS)['parse']>

/** From checked fields to settings. */
export function ejectionSettings(given: Given): EjectionSettings {
  return Object.freeze({
    consecutiveFailures: given.consecutiveFailures,
    errorThreshold: given.errorThreshold,
    minimumCalls: given.minimumCalls,
    baseTimeMs: given.baseTime,
    maxTimeMs: Math.max(given.baseTime, given.maxTime),
    maxShare: given.maxShare,
  })
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveEjection(options?: EjectionOptions, what = 'ejection'): EjectionSettings {
  return ejectionSettings(check(EJECTION_FIELDS, options, what))
}
