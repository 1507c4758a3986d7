/**
 * The resilience of one service: one record with each policy and whether it is on. Documents of
 * `mesh` and of a service are merged before they are checked, because settings are complete.
 */
import { LONGEST_DEADLINE_MS } from '../core/deadline.ts'
import { TRANSPORT_PREFERENCES } from '../core/transport.ts'
import { oneOf, optional, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import { BALANCING_FIELDS, type BalancingOptions, balancingSettings } from './balancing-settings.ts'
import { CIRCUIT_BREAKER } from './circuit-breaker.ts'
import { alwaysOn, definePolicy, type OptionsOf, offByDefault, onByDefault, type SettingsOf } from './define-policy.ts'
import { EJECTION } from './ejection-settings.ts'
import { FAULTS, type FaultRule } from './fault-injection.ts'
import { HEALTH_CHECK } from './health-check.ts'
import { HEDGE } from './hedge.ts'
import { THROTTLE } from './limits/client-throttle.ts'
import { LIMITS } from './limits/settings.ts'
import { RETRY } from './retry.ts'

const NO_FAULTS: readonly FaultRule[] = Object.freeze([])

/** All keys of a service's document that concern resilience. */
export const SERVICE = definePolicy(
  'service options',
  {
    /**
     * Bound of a whole call: attempts, waits and the search for an endpoint.
     * @defaultValue `'10s'`; functions: none
     */
    // As opossum and Envoy: long enough for slow work, short enough that a hang is seen.
    timeout: withDefault(duration({ min: 1, max: LONGEST_DEADLINE_MS }), '10s'),
    /**
     * How long the caller may take nothing of a long HTTP answer that has arrived; then it is
     * broken off. Also an option of a call. @defaultValue `'1m'`
     */
    // As nginx's send_timeout and HAProxy's example: no program that reads at all is so slow.
    idleTimeout: withDefault(duration({ min: 10, max: 86_400_000 }), '1m'),
    /** Further attempts of calls that may be repeated. @defaultValue its own defaults */
    retry: alwaysOn(RETRY),
    /**
     * Refuses calls while too large a share of them fails. `false`: never. Functions also take
     * `true`. @defaultValue on; functions: off
     */
    circuitBreaker: onByDefault(CIRCUIT_BREAKER),
    /**
     * A second attempt beside one that is late. `{}`: with its defaults; `false`: none. Functions
     * also take `true`. @defaultValue off
     */
    // Off: a second execution is the service's business, and helps only if latency has a long tail.
    hedge: offByDefault(HEDGE),
    /**
     * Holds attempts back while the service refuses most of them as overload. `false`: never.
     * @defaultValue on
     */
    throttle: onByDefault(THROTTLE),
    /** Takes failing endpoints out of the choice for a while. `false`: never. @defaultValue on */
    ejection: onByDefault(EJECTION),
    /**
     * Asks endpoints whether they are well, besides the calls. `{}`: with its defaults; `false`:
     * never. @defaultValue off
     */
    // Off: each client would ask each endpoint, while leases and ejection need no extra requests.
    healthCheck: offByDefault(HEALTH_CHECK),
    ...BALANCING_FIELDS,
    /**
     * What carries the calls. `auto`: `inmesh/1` to instances that offer it; `http1`: HTTP/1.1, for
     * gRPC HTTP/2, and the servers of the service do not offer `inmesh/1`. @defaultValue the
     * option `transport` of each process
     */
    transport: optional(oneOf(TRANSPORT_PREFERENCES)),
    /** Limits of each instance, in force in its servers. @defaultValue its own defaults */
    limits: alwaysOn(LIMITS),
    /**
     * Faults on purpose, in its servers: at most 50 rules. Of those that match a request, the first
     * that is drawn counts. @defaultValue none
     */
    faults: optional(FAULTS),
  },
  ({ balancer, zone, subset, slowStartMs, faults, ...settings }) => ({
    ...settings,
    ...balancingSettings({ balancer, zone, subset, slowStartMs }),
    faults: faults ?? NO_FAULTS,
  }),
)

/** How calls to a service are protected. */
// Texts of a spread's properties are lost in emitted types; the first base keeps them.
export interface ServiceOptions extends BalancingOptions, OptionsOf<typeof SERVICE> {}
/** Frozen. `undefined` for a policy that is off. */
export interface ServiceSettings extends SettingsOf<typeof SERVICE> {}
