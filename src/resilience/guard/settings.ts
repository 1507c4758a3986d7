/**
 * From the options of a guarded function to its settings. The checks are those of services, but no
 * policy is on by default.
 */
import { type Clock, systemClock } from '../../core/clock.ts'
import { check, type Field, fields, flag, instance, OptionsError, optional } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import { CIRCUIT_BREAKER, type CircuitBreakerSettings } from '../circuit-breaker.ts'
import { onRequest } from '../define-policy.ts'
import { HEDGE, type HedgeSettings } from '../hedge.ts'
import { RATE_LIMIT, type RateLimitSettings } from '../limits/rate-limit.ts'
import { RETRY, type RetrySettings } from '../retry.ts'
import type { SharingSettings } from '../shared-results.ts'
import { BULKHEAD, type BulkheadSettings } from './bulkhead.ts'

export interface GuardSettings {
  readonly name: string | undefined
  readonly timeoutMs: number
  readonly retry: RetrySettings | undefined
  /**
   * Only if it was asked for: a function cannot be stopped from outside, so the default of services
   * would let two executions run at once.
   */
  readonly perTryTimeoutMs: number | undefined
  readonly circuitBreaker: CircuitBreakerSettings | undefined
  readonly hedge: HedgeSettings | undefined
  readonly bulkhead: BulkheadSettings | undefined
  readonly rateLimit: RateLimitSettings | undefined
  /** `undefined`: every call is executed. */
  readonly sharing: SharingSettings | undefined
  readonly key: ((...args: readonly unknown[]) => string | undefined) | undefined
  readonly fallback: ((error: unknown, ...args: readonly unknown[]) => unknown) | undefined
  readonly isFailure: ((error: unknown) => boolean) | undefined
  readonly clock: Clock
}

function callback<T>(): Field<T> {
  return instance<T>('a function', (value) => typeof value === 'function')
}

const CLOCK_METHODS = ['now', 'wallNow', 'random', 'startTimer', 'startBackgroundTimer', 'stopTimer', 'stalledMsSince']

function isClock(value: unknown): boolean {
  const clock = value as Record<string, unknown> | null | undefined
  return CLOCK_METHODS.every((method) => typeof clock?.[method] === 'function')
}

const GUARD_FIELDS = fields({
  name: optional(instance<string>('a text that is not empty', (value) => typeof value === 'string' && value !== '')),
  timeout: optional(duration({ min: 1, max: 86_400_000 })),
  retry: optional(RETRY),
  circuitBreaker: onRequest(CIRCUIT_BREAKER),
  hedge: onRequest(HEDGE),
  bulkhead: optional(BULKHEAD),
  rateLimit: optional(RATE_LIMIT),
  collapse: optional(flag()),
  cache: optional(duration({ min: 1, max: 3_600_000 })),
  key: optional(callback<(...args: readonly unknown[]) => string | undefined>()),
  fallback: optional(callback<(error: unknown, ...args: readonly unknown[]) => unknown>()),
  isFailure: optional(callback<(error: unknown) => boolean>()),
  clock: optional(instance<Clock>('a Clock', isClock)),
})

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveGuard(options: object | undefined, what = 'guard'): GuardSettings {
  const given = check(GUARD_FIELDS, options as never, what)
  if (given.key !== undefined && given.collapse === undefined && given.cache === undefined) {
    const message = 'says which calls are equal, and has no effect without `collapse` or `cache`'
    throw new OptionsError(what, [{ path: ['key'], message }])
  }
  const asked = (options as { retry?: { perTryTimeout?: unknown } } | undefined)?.retry?.perTryTimeout
  return Object.freeze({
    name: given.name,
    timeoutMs: given.timeout ?? Number.POSITIVE_INFINITY,
    retry: given.retry && retryOf(given.retry, asked !== undefined),
    perTryTimeoutMs: asked === undefined ? undefined : given.retry?.perTryTimeoutMs,
    circuitBreaker: given.circuitBreaker,
    hedge: given.hedge,
    bulkhead: given.bulkhead,
    rateLimit: given.rateLimit,
    sharing:
      given.collapse === true || given.cache !== undefined
        ? Object.freeze({ collapse: given.collapse ?? true, cacheMs: given.cache ?? 0 })
        : undefined,
    key: given.key,
    fallback: given.fallback,
    isFailure: given.isFailure,
    clock: given.clock ?? systemClock,
  })
}

/** The default bound of an attempt is for calls of services: a function has none. */
function retryOf(settings: RetrySettings, bounded: boolean): RetrySettings {
  return bounded ? settings : Object.freeze({ ...settings, perTryTimeoutMs: Number.POSITIVE_INFINITY })
}
