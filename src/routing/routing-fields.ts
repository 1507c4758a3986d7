/** The keys of a document that concern routes, and what they become. */

import type { ParsedShape } from '../options/fields.ts'
import { list, oneOf, optional } from '../options/fields.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { ServiceOptions, ServiceSettings } from '../resilience/settings.ts'
import { FAILOVER } from './failover.ts'
import { OVERRIDES } from './overrides.ts'
import { type GivenRoute, ROUTE, ROUTE_POLICY_KEYS } from './route.ts'
import type { MirrorSettings, RouteSettings, RoutingSettings, SubsetSettings, TargetSettings } from './settings.ts'
import { type GivenTarget, SUBSETS } from './targets.ts'

export const ROUTING_FIELDS = {
  /**
   * Named groups of instances, by version and metadata. At most 100. @defaultValue none
   */
  subsets: optional(SUBSETS),
  /**
   * Rules for where calls go, at most 1,000. The first whose match holds counts. @defaultValue none
   */
  routes: optional(list(ROUTE, { max: 1_000 })),
  /**
   * Of calls that no route matches: `refuse` answers 404, or UNIMPLEMENTED in gRPC.
   * @defaultValue `'service'`: they go to the service as it is
   */
  unmatched: optional(oneOf(['service', 'refuse'])),
  /** Ordered levels of endpoints, at most 10. @defaultValue none: all endpoints are one level */
  failover: optional(FAILOVER),
  /** Which callers may choose another target for one request. @defaultValue none */
  overrides: optional(OVERRIDES),
} as const

/** Where the calls to a service go. */
export interface RoutingOptions extends OptionsOf<{ readonly shape: typeof ROUTING_FIELDS }> {}

const NO_MIRRORS: readonly MirrorSettings[] = Object.freeze([])
const NO_MATCHES: RouteSettings['matches'] = Object.freeze([])
const NO_TARGETS: readonly TargetSettings[] = Object.freeze([])
const NO_FAULTS: readonly FaultRule[] = Object.freeze([])
const NO_SUBSETS: ReadonlyMap<string, SubsetSettings> = Object.freeze(new Map())
const NO_KEYS: ReadonlySet<keyof ServiceOptions> = Object.freeze(new Set<keyof ServiceOptions>())

/** The policies of the service, and how a route's are put over them. */
export interface ServicePolicies {
  readonly service: string
  readonly settings: ServiceSettings
  over(own: ServiceOptions): ServiceSettings
}

/**
 * @param given - the checked values
 * @param written - the same routes as they are written
 * @returns `undefined` if none of the keys is written
 */
export function resolveRouting(
  given: ParsedShape<typeof ROUTING_FIELDS>,
  written: readonly object[],
  policies: ServicePolicies,
): RoutingSettings | undefined {
  const { subsets = NO_SUBSETS, routes = [], failover, unmatched, overrides } = given
  const around = { policies: { ...policies, over: once(policies.over) }, subsets, failover }
  if (Object.keys(ROUTING_FIELDS).every((key) => given[key as keyof typeof given] === undefined)) return undefined
  return Object.freeze({
    subsets,
    routes: Object.freeze(routes.map((route, i) => resolveRoute(route, written[i] as ServiceOptions, around))),
    failover,
    unmatched: unmatched ?? 'service',
    overrides,
  })
}

/** Many routes write the same policies, and share the settings. */
function once(over: ServicePolicies['over']): ServicePolicies['over'] {
  const known = new Map<string, ServiceSettings>()
  return (own) => {
    const text = JSON.stringify(own)
    let settings = known.get(text)
    if (settings === undefined) {
      settings = over(own)
      known.set(text, settings)
    }
    return settings
  }
}

interface Around {
  readonly policies: ServicePolicies
  readonly subsets: ReadonlyMap<string, SubsetSettings>
  readonly failover: RoutingSettings['failover']
}

function resolveRoute(given: GivenRoute, written: ServiceOptions, around: Around): RouteSettings {
  const { name, match, to, split, sticky, session, mirror, headers, rewrite, redirect, respond, faults, failover } =
    given
  const { policies } = around
  const answer = redirect ?? respond
  const targets =
    split?.map((share) => targetOf(share.to, around, share.weight, share.headers)) ??
    (answer === undefined ? [targetOf(to, around)] : NO_TARGETS)
  const own = ownPolicies(written)
  return Object.freeze({
    name,
    matches: match ?? NO_MATCHES,
    targets: Object.freeze(targets),
    sticky,
    session,
    mirrors:
      mirror === undefined
        ? NO_MIRRORS
        : Object.freeze(mirror.map((copy) => Object.freeze({ target: targetOf(copy.to, around), share: copy.share }))),
    headers: headers?.request,
    responseHeaders: headers?.response,
    rewrite,
    answer,
    faults: faults ?? NO_FAULTS,
    policy: own === undefined ? policies.settings : policies.over(own),
    own: own === undefined ? NO_KEYS : Object.freeze(new Set(Object.keys(own) as (keyof ServiceOptions)[])),
    failover: failover ?? around.failover,
  })
}

/** The policies that the route itself writes; `undefined`: none. */
function ownPolicies(written: ServiceOptions): ServiceOptions | undefined {
  const own = ROUTE_POLICY_KEYS.filter((key) => written[key] !== undefined).map((key) => [key, written[key]] as const)
  return own.length === 0 ? undefined : Object.fromEntries(own)
}

function targetOf(
  to: GivenTarget | undefined,
  { policies, subsets }: Around,
  weight = 1,
  headers?: { readonly request: TargetSettings['headers']; readonly response: TargetSettings['headers'] },
): TargetSettings {
  const service = to?.service ?? policies.service
  const elsewhere = service !== policies.service
  const subset = to?.subset
  return Object.freeze({
    key: elsewhere ? `service:${service}${subset === undefined ? '' : `/${subset}`}` : (subset ?? ''),
    service,
    subset: subset === undefined || elsewhere ? subset : subsets.get(subset),
    weight,
    headers: headers?.request,
    responseHeaders: headers?.response,
    missing: to?.missing === true || (subset !== undefined && !elsewhere && !subsets.has(subset)),
  })
}
