/**
 * One entry of `routes` as it is written: where it sends, what it changes, and the policies that
 * differ from the service's.
 */
import {
  type Field,
  fields,
  type Issue,
  list,
  type OptionalField,
  optional,
  type Parsed,
  text,
} from '../options/fields.ts'
import type { OptionsOf } from '../resilience/define-policy.ts'
import { FAULTS } from '../resilience/fault-injection.ts'
import { SERVICE, type ServiceOptions } from '../resilience/settings.ts'
import { REDIRECT, RESPOND, REWRITE } from './answers.ts'
import { FAILOVER } from './failover.ts'
import { HEADERS } from './header-changes.ts'
import { MATCH } from './match.ts'
import { SESSION } from './session.ts'
import { MIRRORS, SPLIT, STICKY, TO } from './targets.ts'

/** The keys of a service's document that a route may write, too: what its callers do. */
export const ROUTE_POLICY_KEYS = [
  'timeout',
  'idleTimeout',
  'retry',
  'circuitBreaker',
  'hedge',
  'throttle',
  'ejection',
  'balancer',
  'zone',
  'subset',
] as const satisfies readonly (keyof ServiceOptions)[]

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
/** A label; or the parts of a manifest's name, of which the second may contain dots. */
export const ROUTE_NAME = new RegExp(`^${LABEL}(?:/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?:/${LABEL}){0,2})?$`)

/** Checked as written, and completed when the documents have been merged. */
function asWritten<T, I>(inner: OptionalField<T, I, string>): OptionalField<T | undefined, I> {
  const { default: ofService, ...schema } = inner.schema
  return {
    optional: true,
    schema,
    parse: (value, path, issues) => (value === undefined ? undefined : inner.parse(value, path, issues)),
  }
}

const { timeout, idleTimeout, retry, circuitBreaker, hedge, throttle, ejection, balancer, zone, subset } = SERVICE.shape

const definition = fields({
  /** Unique in the document: in metrics, spans and errors. */
  name: text("a name of 1 to 63 lower-case letters, digits and '-', neither first nor last a '-'", ROUTE_NAME, 446),
  /** Conditions, of which one is enough. @defaultValue every request */
  match: optional(list(MATCH, { min: 1, max: 64 })),
  /** The target. @defaultValue the service as it is */
  to: optional(TO),
  /** Several targets by weight, instead of `to`. @defaultValue none */
  split: optional(SPLIT),
  /** Requests with the same key go to the same target of `split`. @defaultValue none */
  sticky: optional(STICKY),
  /**
   * A session stays with the endpoint that began it, whatever the weights. @defaultValue none
   */
  session: optional(SESSION),
  /** Copies of a share of the requests. @defaultValue none */
  mirror: optional(MIRRORS),
  /** Changes of headers. @defaultValue none */
  headers: optional(HEADERS),
  /** Changes of path and host. @defaultValue none */
  rewrite: optional(REWRITE),
  /** Sends the caller to another URL, instead of `to`. @defaultValue none */
  redirect: optional(REDIRECT),
  /** A fixed answer, instead of `to`. @defaultValue none */
  respond: optional(RESPOND),
  /** Faults on purpose, in the caller. @defaultValue none */
  faults: optional(FAULTS),
  /** Levels of endpoints. @defaultValue those of the service */
  failover: optional(FAILOVER),
  timeout: asWritten(timeout),
  idleTimeout: asWritten(idleTimeout),
  retry: asWritten(retry),
  circuitBreaker: asWritten(circuitBreaker),
  hedge: asWritten(hedge),
  throttle: asWritten(throttle),
  ejection: asWritten(ejection),
  balancer: asWritten(balancer),
  zone: asWritten(zone),
  subset: asWritten(subset),
})

/** A rule for where calls go: its condition, its targets and its policies. */
export interface RouteOptions extends OptionsOf<typeof definition> {}
export type GivenRoute = Parsed<typeof definition>
export const ROUTE: Field<GivenRoute, RouteOptions> = {
  ...definition,
  parse(value, path, issues) {
    const found: Issue[] = []
    const parsed = definition.parse(value, path, found)
    for (const issue of found) {
      const owner = issue.path.length === path.length + 1 ? OWNERS.get(String(issue.path.at(-1))) : undefined
      issues.push(owner === undefined ? issue : { ...issue, message: `unknown key of a route: ${owner}` })
    }
    return parsed
  },
}

/** The keys of a service's document that a route cannot have, and why. */
const OWNERS: ReadonlyMap<string, string> = new Map([
  ...['limits', 'allow', 'defaultIntention'].map(
    (key) => [key, `'${key}' is the server's, which knows no routes`] as const,
  ),
  ['healthCheck', "'healthCheck' is the service's, whose endpoints all routes share"],
  ['slowStart', "'slowStart' is the service's: an instance warms up once, for all routes"],
  ...['subsets', 'overrides', 'unmatched'].map((key) => [key, `'${key}' is the service's`] as const),
])
