/**
 * The breaker of a whole service or function: when too large a share of its calls fails, further ones are refused for a while, at
 * no cost.
 */
import { type Duration, formatDuration } from '../core/duration.ts'
import { check, duration, fields, integer, share, withDefault } from '../core/fields.ts'

/** When a service's breaker opens and for how long. */
export interface CircuitBreakerOptions {
  /** Share of failed calls at which it opens: `'50%'` or 0.5. @defaultValue `'50%'` (Hystrix) */
  readonly errorThreshold?: number | `${number}%`
  /** How far back calls count. @defaultValue `'10s'` (Hystrix) */
  readonly window?: Duration
  /** Calls within the window below which it never opens. @defaultValue 20 (Hystrix) */
  readonly minimumCalls?: number
  /** How long it stays open before one call may probe. @defaultValue `'5s'` (Hystrix) */
  readonly resetAfter?: Duration
}

export interface CircuitBreakerSettings {
  readonly errorThreshold: number
  readonly windowMs: number
  readonly minimumCalls: number
  readonly resetAfterMs: number
}

/** Hystrix 1.5: circuitBreaker.errorThresholdPercentage, rollingStats.timeInMilliseconds, requestVolumeThreshold, sleepWindow. */
export const CIRCUIT_BREAKER_DEFAULTS: CircuitBreakerSettings = Object.freeze({
  errorThreshold: 0.5,
  windowMs: 10_000,
  minimumCalls: 20,
  resetAfterMs: 5_000,
})

export const CIRCUIT_BREAKER_FIELDS = fields({
  errorThreshold: withDefault(share({ min: 0.01 }), CIRCUIT_BREAKER_DEFAULTS.errorThreshold, '50%'),
  window: withDefault(
    duration({ min: 1_000, max: 600_000 }),
    CIRCUIT_BREAKER_DEFAULTS.windowMs,
    formatDuration(CIRCUIT_BREAKER_DEFAULTS.windowMs),
  ),
  minimumCalls: withDefault(integer({ min: 1, max: 100_000 }), CIRCUIT_BREAKER_DEFAULTS.minimumCalls),
  resetAfter: withDefault(
    duration({ min: 10, max: 3_600_000 }),
    CIRCUIT_BREAKER_DEFAULTS.resetAfterMs,
    formatDuration(CIRCUIT_BREAKER_DEFAULTS.resetAfterMs),
  ),
})

type Given = ReturnType<(typeof CIRCUIT_BREAKER_FIELDS)['parse']>

/** From checked fields to settings. */
export function circuitBreakerSettings(given: Given): CircuitBreakerSettings {
  return Object.freeze({
    errorThreshold: given.errorThreshold,
    windowMs: given.window,
    minimumCalls: given.minimumCalls,
    resetAfterMs: given.resetAfter,
  })
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveCircuitBreaker(
  options?: CircuitBreakerOptions,
  what = 'circuitBreaker',
): CircuitBreakerSettings {
  return circuitBreakerSettings(check(CIRCUIT_BREAKER_FIELDS, options, what))
}
