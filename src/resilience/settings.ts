/**
 * The resilience of one service, described once for code and for documents of the registry: user's
 * shape, fields, resolved shape. Documents of `mesh` and of a service are merged before they are
 * checked, because checked fields are complete.
 */
import { type Duration, formatDuration } from '../options/duration.ts'
import { check, either, exactly, fields, optional, type Parsed, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import {
  BALANCING_DEFAULTS,
  BALANCING_FIELDS,
  type BalancingOptions,
  type BalancingSettings,
  balancingSettings,
} from './balancing-settings.ts'
import {
  CIRCUIT_BREAKER_DEFAULTS,
  CIRCUIT_BREAKER_FIELDS,
  type CircuitBreakerOptions,
  type CircuitBreakerSettings,
  circuitBreakerSettings,
} from './circuit-breaker.ts'
import {
  EJECTION_DEFAULTS,
  EJECTION_FIELDS,
  type EjectionOptions,
  type EjectionSettings,
  ejectionSettings,
} from './ejection-settings.ts'
import { FAULTS_FIELD, type FaultRule, type FaultRuleOptions } from './fault-injection.ts'
import {
  HEALTH_CHECK_FIELDS,
  type HealthCheckOptions,
  type HealthCheckSettings,
  healthCheckSettings,
} from './health-check.ts'
import { HEDGE_FIELDS, type HedgeOptions, type HedgeSettings, hedgeSettings } from './hedge.ts'
import {
  THROTTLE_DEFAULTS,
  THROTTLE_FIELDS,
  type ThrottleOptions,
  type ThrottleSettings,
} from './limits/client-throttle.ts'
import { LIMITS_FIELDS, type LimitsOptions, type LimitsSettings, limitsSettings, NO_LIMITS } from './limits/settings.ts'
import { RETRY_DEFAULTS, RETRY_FIELDS, type RetryOptions, type RetrySettings, retrySettings } from './retry.ts'

/** How calls to a service are protected. */
export interface ServiceOptions extends BalancingOptions {
  /** Bound of a whole call, retries and waits included. @defaultValue `'10s'` */
  readonly timeout?: Duration
  /**
   * How long the caller may take nothing of a long answer that has arrived; then it is broken off.
   * @defaultValue `'60s'`
   */
  readonly idleTimeout?: Duration
  readonly retry?: RetryOptions
  /** `false`: none. */
  readonly circuitBreaker?: CircuitBreakerOptions | false
  /** A second attempt when the first is late; `false` or absent: none. */
  readonly hedge?: HedgeOptions | false
  /** Holds attempts back while the service refuses most of them as overload. `false`: never. */
  readonly throttle?: ThrottleOptions | false
  /** `false`: failing endpoints are never taken out. */
  readonly ejection?: EjectionOptions | false
  /** Asks endpoints whether they are well, besides the calls; `false` or absent: none. */
  readonly healthCheck?: HealthCheckOptions | false
  readonly limits?: LimitsOptions
  /** Faults on purpose, in its servers; the first that matches counts. @defaultValue none */
  readonly faults?: readonly FaultRuleOptions[]
}

export interface ServiceSettings extends BalancingSettings {
  readonly timeoutMs: number
  readonly idleTimeoutMs: number
  readonly retry: RetrySettings
  readonly circuitBreaker: CircuitBreakerSettings | undefined
  readonly hedge: HedgeSettings | undefined
  readonly throttle: ThrottleSettings | undefined
  readonly ejection: EjectionSettings | undefined
  readonly healthCheck: HealthCheckSettings | undefined
  /** Enforced by the servers of the service, not by its clients. */
  readonly limits: LimitsSettings
  /** Carried out by the servers, too. */
  readonly faults: readonly FaultRule[]
}

/**
 * opossum's and Envoy's order of size: long enough for slow work, short enough that a hang is seen.
 */
export const SERVICE_DEFAULTS: ServiceSettings = Object.freeze({
  timeoutMs: 10_000,
  // As nginx's send_timeout and HAProxy's example: no program that reads at all is so slow.
  idleTimeoutMs: 60_000,
  retry: RETRY_DEFAULTS,
  circuitBreaker: CIRCUIT_BREAKER_DEFAULTS,
  // Off: a second execution is the service's business, and it helps only those whose latency has a
  // long tail.
  hedge: undefined,
  // On: it does nothing until most attempts are refused as overload, and then each that is sent
  // takes from those that are not.
  throttle: THROTTLE_DEFAULTS,
  ejection: EJECTION_DEFAULTS,
  // Off: every client would ask every endpoint, while leases and ejection find what is dead without
  // a request more.
  healthCheck: undefined,
  ...BALANCING_DEFAULTS,
  limits: NO_LIMITS,
  faults: Object.freeze([]),
})

/**
 * The keys of a service's document that concern resilience, to be spread into the description of
 * the whole document.
 */
export const SERVICE_FIELDS = {
  timeout: withDefault(
    duration({ min: 1, max: 300_000 }),
    SERVICE_DEFAULTS.timeoutMs,
    formatDuration(SERVICE_DEFAULTS.timeoutMs),
  ),
  idleTimeout: withDefault(
    duration({ min: 10, max: 86_400_000 }),
    SERVICE_DEFAULTS.idleTimeoutMs,
    formatDuration(SERVICE_DEFAULTS.idleTimeoutMs),
  ),
  retry: optional(RETRY_FIELDS),
  circuitBreaker: optional(either(exactly(false), CIRCUIT_BREAKER_FIELDS)),
  hedge: optional(either(exactly(false), HEDGE_FIELDS)),
  throttle: optional(either(exactly(false), THROTTLE_FIELDS)),
  ejection: optional(either(exactly(false), EJECTION_FIELDS)),
  healthCheck: optional(either(exactly(false), HEALTH_CHECK_FIELDS)),
  ...BALANCING_FIELDS,
  limits: optional(LIMITS_FIELDS),
  faults: optional(FAULTS_FIELD),
} as const

/** What {@link SERVICE_FIELDS} parse to. */
export type ParsedService = { readonly [K in keyof typeof SERVICE_FIELDS]: Parsed<(typeof SERVICE_FIELDS)[K]> }

/** From checked fields to settings. */
export function resolveServiceSettings(given: ParsedService): ServiceSettings {
  const { retry, circuitBreaker, hedge, throttle, ejection, healthCheck, limits } = given
  return Object.freeze({
    timeoutMs: given.timeout,
    idleTimeoutMs: given.idleTimeout,
    retry: retry === undefined ? RETRY_DEFAULTS : retrySettings(retry),
    circuitBreaker:
      circuitBreaker === false
        ? undefined
        : circuitBreaker === undefined
          ? CIRCUIT_BREAKER_DEFAULTS
          : circuitBreakerSettings(circuitBreaker),
    hedge: hedge === undefined || hedge === false ? undefined : hedgeSettings(hedge),
    throttle: throttle === false ? undefined : (throttle ?? THROTTLE_DEFAULTS),
    ejection: ejection === false ? undefined : ejection === undefined ? EJECTION_DEFAULTS : ejectionSettings(ejection),
    healthCheck: healthCheck === undefined || healthCheck === false ? undefined : healthCheckSettings(healthCheck),
    ...balancingSettings(given),
    limits: limitsSettings(limits),
    faults: given.faults ?? SERVICE_DEFAULTS.faults,
  })
}

const SERVICE_OPTIONS = fields(SERVICE_FIELDS)

/** Validates and completes options given in code. @throws OptionsError naming each wrong field. */
export function resolveService(options?: ServiceOptions, what = 'service options'): ServiceSettings {
  return resolveServiceSettings(check(SERVICE_OPTIONS, options, what))
}
