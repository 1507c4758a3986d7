/**
 * The options of health checks: how often an endpoint is asked, what, and when an answer counts.
 * `client/health-checks` asks; the ejection of the service takes failing endpoints out.
 */
import { text, withDefault } from '../options/fields.ts'
import { duration, integer } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'

/** Printable, without spaces and fragment: anything else would split the request line. */
const PATH = /^\/[\x21\x22\x24-\x7e]*$/

const definition = definePolicy(
  'healthCheck',
  {
    /**
     * From one check of an endpoint to its next, by each client. @defaultValue `'5s'`: three
     * failures are found within the time of a lease
     */
    interval: withDefault(duration({ min: 100, max: 3_600_000 }), '5s'),
    /**
     * No answer within this is a failure; not above `interval`. @defaultValue `'1s'` (Kubernetes)
     */
    timeout: withDefault(duration({ min: 1, max: 60_000 }), '1s'),
    /**
     * What an HTTP endpoint is asked for, by GET: 2xx is healthy. gRPC endpoints are asked by the
     * standard health service. @defaultValue `'/healthz'`
     */
    path: withDefault(
      text("a path that begins with '/', percent-encoded and without '#', such as '/healthz'", PATH, 1_024),
      '/healthz',
    ),
    /** Failures in a row after which an endpoint gets no calls. @defaultValue `3` (Kubernetes) */
    unhealthyAfter: withDefault(integer({ min: 1, max: 100 }), 3),
    /** Successes in a row after which it gets calls again. @defaultValue `2`: one may be luck */
    healthyAfter: withDefault(integer({ min: 1, max: 100 }), 2),
  },
  // The interval wins over a timeout that is longer, which may come from another document.
  (settings) => ({ ...settings, timeoutMs: Math.min(settings.timeoutMs, settings.intervalMs) }),
)

/** How endpoints are asked whether they are well. */
export interface HealthCheckOptions extends OptionsOf<typeof definition> {}
export interface HealthCheckSettings extends SettingsOf<typeof definition> {}
export const HEALTH_CHECK: PolicyDefinition<HealthCheckOptions, HealthCheckSettings> = definition
