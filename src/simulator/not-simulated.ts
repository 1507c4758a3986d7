/** What documents say and the simulation leaves out, so that no key is ignored in silence. */
import { MESH_DOCUMENT } from '../discovery/policy-document.ts'
import { formatPath, type Path } from '../options/fields.ts'
import type { Scenario } from './scenario.ts'

export interface NotSimulated {
  readonly service: string
  /** `routes[0].mirror`; empty for the whole document. */
  readonly path: string
  readonly reason: string
}

type Reason = string | ((value: unknown, scenario: Scenario) => string | undefined)
type Reasons = Readonly<Record<string, Reason>>

const CONTENT = 'requests and answers have no content'
const NO_REGISTRY = 'no registry leases shares of it'
const ONE_REQUEST = 'all calls are the same request'
const KEYS_DRAWN = 'each call has one of 1,000 keys'

/** Of a service and of a route. */
const POLICIES: Reasons = {
  idleTimeout: CONTENT,
  'retry.grpcStatuses': 'calls are HTTP',
  'retry.idempotent': 'calls are HTTP',
  'balancer.key': KEYS_DRAWN,
  zone: (value, { zones }) => (value === 'prefer' && zones === 1 ? 'there is one zone; --zones makes more' : undefined),
  failover: (levels, { zones }) => {
    const kinds = (levels as readonly object[]).flatMap((level) => Object.keys(level))
    if (kinds.includes('region') || kinds.includes('metadata')) return 'clients have no region and no metadata'
    return kinds.includes('zone') && zones === 1 ? 'there is one zone; --zones makes more' : undefined
  },
}

const OF_DOCUMENT: Reasons = {
  ...POLICIES,
  allow: 'every call is allowed',
  defaultIntention: 'every call is allowed',
  tap: 'no operator watches',
  transport: 'a call needs no connection',
  slowStart: 'all servers are there from the start',
  overrides: 'no call overrides its target',
  'limits.global': NO_REGISTRY,
}

const OF_ROUTE: Reasons = {
  ...POLICIES,
  sticky: ONE_REQUEST,
  session: ONE_REQUEST,
  mirror: 'no copies are sent',
  headers: CONTENT,
  rewrite: CONTENT,
  faults: 'callers inject none; --fault makes servers fail',
}

/** `reached`: the services that calls may reach. */
export function notSimulated(scenario: Scenario, reached: ReadonlySet<string>): readonly NotSimulated[] {
  return scenario.documents.flatMap((document) => {
    const { service } = document
    if (service !== MESH_DOCUMENT && !reached.has(service)) {
      return [{ service, path: '', reason: `no call to '${scenario.service}' leads there` }]
    }
    return [
      ...found(scenario, document, [], OF_DOCUMENT),
      // The routes of services behind ours are those of their callers.
      ...(document.routes !== undefined && service !== scenario.service
        ? [{ path: 'routes', reason: `calls come by the routes of '${scenario.service}'` }]
        : (document.routes ?? []).flatMap((route, i) => found(scenario, route, ['routes', i], OF_ROUTE))),
    ].map((one) => ({ service, ...one }))
  })
}

function found(
  scenario: Scenario,
  written: object,
  at: Path,
  reasons: Reasons,
): readonly Omit<NotSimulated, 'service'>[] {
  return Object.entries(reasons).flatMap(([key, reason]) => {
    const path = key.split('.')
    const value = path.reduce<unknown>((from, step) => (from as Record<string, unknown> | undefined)?.[step], written)
    if (value === undefined || value === false) return []
    const why = typeof reason === 'string' ? reason : reason(value, scenario)
    return why === undefined ? [] : [{ path: formatPath([...at, ...path]), reason: why }]
  })
}
