/**
 * Explains one request: route, target, endpoints, policies with their documents, and the intention
 * that decides. Nothing is sent; a process and the registry share this code.
 */
import { type EndpointAddress, labelOf } from '../core/endpoint.ts'
import type { Protocol } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import type { RouteOverrides } from '../core/route-overrides.ts'
import { GRPC_STATUS, GRPC_STATUS_NAMES } from '../core/status.ts'
import type { TransportPreference } from '../core/transport.ts'
import { AMBIGUOUS, readPath } from '../net/request-path.ts'
import type { Path } from '../options/fields.ts'
import { triedRoutes } from '../routing/explain-route.ts'
import { instanceWarnings } from '../routing/instance-warnings.ts'
import { policyValues } from '../routing/policy-values.ts'
import { redirectLocation } from '../routing/redirect-location.ts'
import { rewrittenPath } from '../routing/rewritten-path.ts'
import type {
  HeaderChanges,
  RouteSettings,
  RoutingSettings,
  SubsetSettings,
  TargetSettings,
} from '../routing/settings.ts'
import { stickyIndex } from '../routing/split.ts'
import { sideIndex, sideMember, stickyKeyOf } from '../routing/sticky-key.ts'
import { divertedRoute, TargetOverrides } from '../routing/target-overrides.ts'
import type {
  ExplainedAnswer,
  ExplainedEndpoint,
  ExplainedHeaders,
  ExplainedIntention,
  ExplainedLevel,
  ExplainedRule,
  ExplainedSticky,
  ExplainedTarget,
  Explanation,
} from './explanation.ts'
import type { Intention } from './intention.ts'
import { IntentionRules } from './intention-rules.ts'
import { MESH_DOCUMENT, type PolicyDocument, resolvePolicy, type ServicePolicy } from './policy-document.ts'

/** An instance of a service, with its state as the source of the explanation sees it. */
export interface ListedEndpoint extends EndpointAddress {
  readonly shown: string
}

/** What is known of the mesh. */
export interface ExplainSources {
  /** Whether the registry runs with `--dev`. */
  readonly dev: boolean
  /** Of the calling process, where no document says anything. */
  readonly transport?: TransportPreference
  /** The document in force, checked; `null`: none. */
  document(service: string): PolicyDocument | null
  /** `undefined`: the service is not known. */
  endpoints(service: string): readonly ListedEndpoint[] | undefined
}

/** The request to explain. */
export interface ExplainedRequest {
  readonly service: string
  /** The calling service; `undefined`: not known. */
  readonly from: string | undefined
  /** The namespace of the calling process. @defaultValue `'default'` */
  readonly namespace?: string
  readonly protocol: Protocol
  readonly head: RequestHead
  /** Of the request's baggage. */
  readonly baggage: ReadonlyMap<string, string> | undefined
  readonly overrides: Pick<RouteOverrides, 'targets' | 'origin'> | undefined
}

interface Known extends ExplainSources {
  /** The policy in force, resolved once. */
  policyOf(service: string): ServicePolicy
}

/** Never throws for checked documents and a checked request. */
export function explain(request: ExplainedRequest, given: ExplainSources): Explanation {
  const policies = new Map<string, ServicePolicy>()
  const policyOf = (name: string): ServicePolicy => {
    const policy = policies.get(name) ?? resolvePolicy(given.document(MESH_DOCUMENT), given.document(name), given)
    policies.set(name, policy)
    return policy
  }
  const sources: Known = { ...given, policyOf }
  const { service, from, namespace, protocol, head } = request
  const mesh = sources.document(MESH_DOCUMENT)
  const own = sources.document(service)
  const { routing, settings } = policyOf(service)
  const routes = routing?.routes ?? []
  const tried = triedRoutes(routes, {
    head,
    protocol,
    caller: from ?? '',
    service,
    ...(namespace !== undefined && { namespace }),
  })
  const last = tried.at(-1)
  const matched = last?.matched === true ? routes[tried.length - 1] : undefined
  const wish = overrideOf(request, routing)
  const isDiverted = wish?.target !== undefined && matched?.answer === undefined
  const route = isDiverted ? divertedRoute(matched, wish.target!, settings) : matched
  const refused = route === undefined && routing?.unmatched === 'refuse'
  const answer = route?.answer
  const targets = refused || answer !== undefined ? [] : (route?.targets ?? [asItIs(service)])
  const path = route?.rewrite?.path === undefined ? head.path : rewrittenPath(route, route.rewrite.path, head.path)
  const sticky = route === undefined ? null : stickyOf(route, request)
  const written = (own?.routes as readonly { readonly name: string }[] | undefined)?.find(
    ({ name }) => name === matched?.name,
  )
  const total = targets.reduce((sum, { weight }) => sum + weight, 0)
  return {
    service,
    from: from ?? null,
    protocol,
    method: head.method,
    path: head.path,
    routes: tried,
    route: matched?.name ?? null,
    action: refused ? 'refuse' : answer === undefined ? 'send' : answer.kind,
    answer: answerOf(route, refused, request),
    targets: targets.map((target) => explainTarget(target, total, path, request, sources)),
    target: chosen(targets, sticky, request),
    sticky,
    override: showOverride(wish, request),
    failover: isDiverted ? [] : failoverOf(request, sources, written ?? null, own, mesh),
    policies: policyValues({
      ...{ mesh, service: own, route: written ?? null },
      ...(given.transport !== undefined && { transport: given.transport }),
    }),
    mirrors: (route?.mirrors ?? []).map(({ target, share }) => ({ target: target.key, share })),
    headers: headersOf(route?.headers),
    responseHeaders: headersOf(route?.responseHeaders),
    rewrite:
      route?.rewrite === undefined
        ? null
        : { path: path === head.path ? null : path, host: route.rewrite.host ?? null },
    faults: route?.faults.length ?? 0,
    warnings: warningsOf(service, own, sources),
  }
}

interface Wish {
  /** `undefined`: it counts for nothing. */
  readonly target: TargetSettings | undefined
  readonly refused: string | undefined
}

/** What the request asks for, as calls take it; `undefined`: nothing of this service. */
function overrideOf({ service, overrides }: ExplainedRequest, routing: RoutingSettings | undefined): Wish | undefined {
  if (overrides?.targets.has(service) !== true) return undefined
  let refused: string | undefined
  const allowed = new TargetOverrides(service, (_origin, reason) => {
    refused = reason
  })
  const target = allowed.of(overrides, routing ?? { overrides: undefined, subsets: new Map() })
  return { target, refused }
}

function showOverride(wish: Wish | undefined, { overrides }: ExplainedRequest): Explanation['override'] {
  if (wish === undefined) return null
  return { origin: overrides?.origin ?? null, target: wish.target?.key ?? null, refused: wish.refused ?? null }
}

/** The one that the request takes for sure. */
function chosen(
  targets: readonly TargetSettings[],
  sticky: ExplainedSticky | null,
  { baggage }: ExplainedRequest,
): string | null {
  if (targets.length === 1) return targets[0]!.key
  if (targets.length === 0 || sticky === null || sticky.value === null) return null
  const side = sticky.from === 'baggage' ? baggage?.get(sideMember(sticky.name)) : undefined
  return targets[sideIndex(targets, side) ?? stickyIndex(targets, sticky.value)]!.key
}

function asItIs(service: string): TargetSettings {
  return {
    key: '',
    service,
    subset: undefined,
    weight: 1,
    headers: undefined,
    responseHeaders: undefined,
    missing: false,
  }
}

function stickyOf({ sticky }: RouteSettings, { head, baggage }: ExplainedRequest): ExplainedSticky | null {
  return sticky === undefined
    ? null
    : { ...sticky, value: stickyKeyOf(sticky, head, baggage?.get(sticky.name)) ?? null }
}

function explainTarget(
  target: TargetSettings,
  total: number,
  path: string,
  request: ExplainedRequest,
  sources: Known,
): ExplainedTarget {
  const { key, service, weight, missing } = target
  return {
    key,
    service,
    subset: typeof target.subset === 'object' ? target.subset.name : (target.subset ?? null),
    weight,
    share: total === 0 ? 0 : weight / total,
    missing,
    endpoints: endpointsOf(target, request, sources),
    intention: intentionOf(service, path, request, sources),
    headers: headersOf(target.headers),
    responseHeaders: headersOf(target.responseHeaders),
  }
}

function endpointsOf(target: TargetSettings, { protocol }: ExplainedRequest, sources: Known): ExplainedEndpoint[] {
  const subset = subsetOf(target, sources)
  if (target.missing || subset === null) return []
  return (sources.endpoints(target.service) ?? [])
    .filter((one) => one.protocol === protocol && (subset === undefined || isIn(one, subset)))
    .map(showEndpoint)
}

/** `undefined`: all instances. `null`: the other service defines no such subset. */
function subsetOf({ service, subset }: TargetSettings, sources: Known): SubsetSettings | undefined | null {
  if (typeof subset !== 'string') return subset
  return sources.policyOf(service).routing?.subsets.get(subset) ?? null
}

function isIn(endpoint: ListedEndpoint, { version, metadata }: SubsetSettings): boolean {
  if (version !== undefined && endpoint.version !== version) return false
  return metadata.every(([key, value]) => Object.hasOwn(endpoint.metadata, key) && endpoint.metadata[key] === value)
}

function showEndpoint(endpoint: ListedEndpoint): ExplainedEndpoint {
  const { id, zone, version, weight, transports, shown } = endpoint
  return {
    id,
    address: labelOf(endpoint),
    zone: zone ?? null,
    version: version ?? null,
    weight,
    transports: transports ?? null,
    state: shown,
  }
}

function intentionOf(
  service: string,
  path: string,
  { from, protocol, head }: ExplainedRequest,
  sources: Known,
): ExplainedIntention {
  const [mesh, own] = [sources.document(MESH_DOCUMENT), sources.document(service)]
  const { allow, defaultIntention } = sources.policyOf(service)
  const normal = protocol === 'grpc' ? head.method : (readPath(path) ?? AMBIGUOUS)
  const method = protocol === 'grpc' ? 'POST' : head.method
  const { allowed, rule } = new IntentionRules(allow, defaultIntention).decide(protocol, from, method, normal)
  const listed = own?.allow !== undefined ? 'service' : mesh?.allow !== undefined ? 'mesh' : undefined
  return {
    allowed,
    rule,
    from: listed ?? (mesh?.defaultIntention === undefined ? 'default' : 'mesh'),
    others: allowed || from === undefined ? [] : rulesNaming(from, allow),
  }
}

function rulesNaming(caller: string, allow: readonly Intention[]): ExplainedRule[] {
  return allow.flatMap(({ from, methods = null, paths = null, grpc = null, tcp = false }, i) =>
    from === caller || from === '*' ? [{ rule: `allow[${i}]`, methods, paths, grpc, tcp }] : [],
  )
}

/** What the caller's process answers; `null`: the request is sent. */
function answerOf(
  route: RouteSettings | undefined,
  refused: boolean,
  { service, protocol, head }: ExplainedRequest,
): ExplainedAnswer | null {
  const answer = route?.answer
  if (answer === undefined && !refused) return null
  // gRPC cannot follow a redirect.
  const code = answer?.kind === 'respond' ? answer.grpcStatus : GRPC_STATUS.UNIMPLEMENTED
  return {
    status: answer?.status ?? 404,
    grpcStatus: protocol === 'grpc' ? GRPC_STATUS_NAMES[code - 1]! : null,
    location: answer?.kind === 'redirect' ? redirectLocation(answer, route!, head.path, `http://${service}`) : null,
  }
}

/** Of the route, or else of the service, or else of the mesh. */
function failoverOf(
  request: ExplainedRequest,
  sources: Known,
  ...documents: readonly (object | null)[]
): readonly ExplainedLevel[] {
  for (const document of documents) {
    const { failover } = (document ?? {}) as { failover?: readonly ExplainedLevel['level'][] }
    if (failover !== undefined) return failover.map((level) => explainLevel(level, request, sources))
  }
  return []
}

function explainLevel(level: ExplainedLevel['level'], request: ExplainedRequest, sources: Known): ExplainedLevel {
  const { service = request.service, subset } = level as { service?: string; subset?: string }
  if (level.service === undefined && subset === undefined) return { level, endpoints: null }
  const target = { ...asItIs(service), subset }
  return { level, endpoints: endpointsOf(target, request, sources) }
}

function headersOf(changes: HeaderChanges | undefined): ExplainedHeaders | null {
  if (changes === undefined) return null
  const { remove, set, add } = changes
  return { remove, set: Object.fromEntries(set), add: Object.fromEntries(add) }
}

function warningsOf(service: string, own: PolicyDocument | null, sources: ExplainSources): Explanation['warnings'] {
  if (own === null) {
    const known = sources.endpoints(service) !== undefined
    return known ? [] : [{ path: [], message: `no service '${service}' is known` }]
  }
  const found = instanceWarnings(own, {
    document: (name) => sources.document(name) ?? undefined,
    instances: (name) => sources.endpoints(name),
  })
  return found.map(({ path, message }) => ({ path: named(own, path), message }))
}

/** The index of a route that comes from a manifest stands in no file: its name does. */
function named(document: PolicyDocument, path: Path): Path {
  const [key, index, ...rest] = path
  const name = key === 'routes' ? document.routes?.[Number(index)]?.name : undefined
  return name?.includes('/') === true ? [name, ...rest] : path
}
