/**
 * What it means that an endpoint is well, beyond what calls show: how often it is asked, what, and
 * how many answers in a row are believed. The asking itself is the client's
 * (`client/health-checks`); what fails is taken out by the ejection of the service.
 */
import { type Duration, formatDuration } from '../options/duration.ts'
import { check, fields, type Parsed, text, withDefault } from '../options/fields.ts'
import { duration, integer } from '../options/quantities.ts'

/** How endpoints are asked whether they are well. */
export interface HealthCheckOptions {
  /**
   * From one check of an endpoint to its next, by each client. @defaultValue `'5s'`: three failures
   * are found within the time of a lease
   */
  readonly interval?: Duration
  /** No answer within this is a failure; at most `interval`. @defaultValue `'1s'` (Kubernetes) */
  readonly timeout?: Duration
  /**
   * What an HTTP endpoint is asked for, by GET: 2xx is healthy. gRPC endpoints are asked by the
   * standard health service. @defaultValue `'/healthz'`
   */
  readonly path?: string
  /** Failures in a row after which an endpoint gets no calls. @defaultValue 3 (Kubernetes) */
  readonly unhealthyAfter?: number
  /** Successes in a row after which it gets calls again. @defaultValue 2: one may be luck */
  readonly healthyAfter?: number
}

export interface HealthCheckSettings {
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly path: string
  readonly unhealthyAfter: number
  readonly healthyAfter: number
}

/**
 * Kubernetes' `timeoutSeconds: 1` and `failureThreshold: 3`; its `periodSeconds: 10` would take two
 * leases to find what is dead.
 */
export const HEALTH_CHECK_DEFAULTS: HealthCheckSettings = Object.freeze({
  intervalMs: 5_000,
  timeoutMs: 1_000,
  path: '/healthz',
  unhealthyAfter: 3,
  healthyAfter: 2,
})

/** Printable, without spaces and fragment: anything else would split the request line. */
const PATH = /^\/[\x21\x22\x24-\x7e]*$/

export const HEALTH_CHECK_FIELDS = fields({
  interval: withDefault(
    duration({ min: 100, max: 3_600_000 }),
    HEALTH_CHECK_DEFAULTS.intervalMs,
    formatDuration(HEALTH_CHECK_DEFAULTS.intervalMs),
  ),
  timeout: withDefault(
    duration({ min: 1, max: 60_000 }),
    HEALTH_CHECK_DEFAULTS.timeoutMs,
    formatDuration(HEALTH_CHECK_DEFAULTS.timeoutMs),
  ),
  path: withDefault(
    text("a path that begins with '/', percent-encoded and without '#', such as '/healthz'", PATH, 1_024),
    HEALTH_CHECK_DEFAULTS.path,
  ),
  unhealthyAfter: withDefault(integer({ min: 1, max: 100 }), HEALTH_CHECK_DEFAULTS.unhealthyAfter),
  healthyAfter: withDefault(integer({ min: 1, max: 100 }), HEALTH_CHECK_DEFAULTS.healthyAfter),
})

/**
 * From checked fields to settings. The interval wins over a timeout that is longer: it may come
 * from another document.
 */
export function healthCheckSettings(given: Parsed<typeof HEALTH_CHECK_FIELDS>): HealthCheckSettings {
  return Object.freeze({
    intervalMs: given.interval,
    timeoutMs: Math.min(given.timeout, given.interval),
    path: given.path,
    unhealthyAfter: given.unhealthyAfter,
    healthyAfter: given.healthyAfter,
  })
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveHealthCheck(options?: HealthCheckOptions, what = 'healthCheck'): HealthCheckSettings {
  return healthCheckSettings(check(HEALTH_CHECK_FIELDS, options, what))
}
