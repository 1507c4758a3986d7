/**
 * The shapes of an HTTPRoute and of a GRPCRoute. Keys that the specification does not have are
 * mistakes.
 */
import { LONGEST_DEADLINE_MS } from '../core/deadline.ts'
import { type AnyField, fields, type Issue, list, optional, type Parsed, type Path, text } from '../options/fields.ts'
import { integer } from '../options/quantities.ts'
import { gatewayDuration } from './duration.ts'
import { checkFilters, GRPC_FILTERS, HTTP_FILTERS } from './filters.ts'
import {
  checkGrpcMatch,
  checkHttpMatch,
  GRPC_MATCH,
  HTTP_MATCH,
  MOST_MATCHES,
  MOST_MATCHES_OF_ROUTE,
  pathOf,
} from './matches.ts'
import { sectionName } from './names.ts'
import { BACKEND_REF_SHAPE, checkParents, checkTarget, GATEWAY_SCOPE, PARENT_REF } from './references.ts'
import { checkSessionPersistence, SESSION_PERSISTENCE } from './session-persistence.ts'

const MOST_PARENTS = 32
const MOST_RULES = 16
const MOST_BACKENDS = 16
const MOST_BACKOFF_MS = 300_000
/** Ours counts attempts, at most 10. */
const MOST_RETRIES = 9

const TIMEOUTS = fields({
  request: optional(gatewayDuration(LONGEST_DEADLINE_MS)),
  backendRequest: optional(gatewayDuration(LONGEST_DEADLINE_MS)),
})

const RETRY = fields({
  codes: optional(list(integer({ min: 400, max: 599 }), { max: 50 })),
  attempts: optional(integer({ min: 1, max: MOST_RETRIES })),
  backoff: optional(gatewayDuration(MOST_BACKOFF_MS)),
})

const HTTP_RULE_PARTS = fields({
  name: optional(sectionName()),
  matches: optional(list(HTTP_MATCH, { max: MOST_MATCHES })),
  filters: optional(HTTP_FILTERS),
  backendRefs: optional(
    list(fields({ ...BACKEND_REF_SHAPE, filters: optional(HTTP_FILTERS) }), { max: MOST_BACKENDS }),
  ),
  timeouts: optional(TIMEOUTS),
  retry: optional(RETRY),
  sessionPersistence: optional(SESSION_PERSISTENCE),
})

const GRPC_RULE_PARTS = fields({
  name: optional(sectionName()),
  matches: optional(list(GRPC_MATCH, { max: MOST_MATCHES })),
  filters: optional(GRPC_FILTERS),
  backendRefs: optional(
    list(fields({ ...BACKEND_REF_SHAPE, filters: optional(GRPC_FILTERS) }), { max: MOST_BACKENDS }),
  ),
  sessionPersistence: optional(SESSION_PERSISTENCE),
})

// Named, or the declarations of the routes repeat their parts.
export interface HttpRule extends Parsed<typeof HTTP_RULE_PARTS> {}
export interface GrpcRule extends Parsed<typeof GRPC_RULE_PARTS> {}
const HTTP_RULE: AnyField<HttpRule> = HTTP_RULE_PARTS
const GRPC_RULE: AnyField<GrpcRule> = GRPC_RULE_PARTS

const HOSTNAMES = list(text('the name of a host', /^(?:\*\.)?[a-z0-9.-]+$/), { max: 16 })

const SHARED = {
  parentRefs: optional(list(PARENT_REF, { max: MOST_PARENTS })),
  useDefaultGateways: optional(GATEWAY_SCOPE),
  hostnames: optional(HOSTNAMES),
}

export const HTTP_ROUTE = fields({ ...SHARED, rules: optional(list(HTTP_RULE, { min: 1, max: MOST_RULES })) })
export const GRPC_ROUTE = fields({ ...SHARED, rules: optional(list(GRPC_RULE, { max: MOST_RULES })) })

export type HttpRouteSpec = Parsed<typeof HTTP_ROUTE>
export type GrpcRouteSpec = Parsed<typeof GRPC_ROUTE>
export type Backend = NonNullable<HttpRule['backendRefs']>[number]
export type Timeouts = Parsed<typeof TIMEOUTS>
export type RetryRule = Parsed<typeof RETRY>

const SPEC: Path = ['spec']

export function checkHttpRoute(spec: HttpRouteSpec, issues: Issue[]): void {
  checkShared(spec, issues)
  const { rules = [] } = spec
  checkRules(rules, issues)
  for (const [i, rule] of rules.entries()) {
    const at = [...SPEC, 'rules', i]
    for (const [j, match] of (rule.matches ?? []).entries()) checkHttpMatch(match, [...at, 'matches', j], issues)
    const prefixes = replacesPrefix(rule)
    checkFilters(rule.filters ?? [], prefixes, [...at, 'filters'], issues)
    checkBackends(rule.backendRefs ?? [], prefixes, at, issues)
    const redirects = rule.filters?.some(({ type }) => type === 'RequestRedirect') === true
    if (redirects && (rule.backendRefs?.length ?? 0) > 0) {
      issues.push({
        path: [...at, 'backendRefs'],
        message: 'stand beside RequestRedirect; a redirected request is not forwarded',
      })
    }
    checkTimeouts(rule, at, issues)
    checkSession(rule, at, issues)
  }
}

export function checkGrpcRoute(spec: GrpcRouteSpec, issues: Issue[]): void {
  checkShared(spec, issues)
  const { rules = [] } = spec
  checkRules(rules, issues)
  for (const [i, rule] of rules.entries()) {
    const at = [...SPEC, 'rules', i]
    for (const [j, match] of (rule.matches ?? []).entries()) checkGrpcMatch(match, [...at, 'matches', j], issues)
    checkFilters(rule.filters ?? [], false, [...at, 'filters'], issues)
    checkBackends(rule.backendRefs ?? [], false, at, issues)
    checkSession(rule, at, issues)
  }
}

function checkShared({ parentRefs = [], hostnames = [] }: HttpRouteSpec | GrpcRouteSpec, issues: Issue[]): void {
  checkParents(parentRefs, [...SPEC, 'parentRefs'], issues)
  // Beside a Gateway they are for it; alone they would promise what no mesh does (GEP-1294).
  const alone = parentRefs.length > 0 && parentRefs.every(({ kind }) => kind === 'Service')
  if (!alone || hostnames.length === 0) return
  const message = "means nothing where the parent is a Service (GEP-1294); match the header 'host' instead"
  issues.push({ path: [...SPEC, 'hostnames'], message })
}

interface AnyRule {
  readonly name: string | undefined
  readonly matches: readonly unknown[] | undefined
}

function checkRules(rules: readonly AnyRule[], issues: Issue[]): void {
  const names = new Set<string>()
  let matches = 0
  for (const [i, rule] of rules.entries()) {
    matches += rule.matches?.length ?? 1
    if (rule.name === undefined) continue
    if (names.has(rule.name)) {
      issues.push({ path: [...SPEC, 'rules', i, 'name'], message: `'${rule.name}' is the name of a rule before` })
    }
    names.add(rule.name)
  }
  if (matches > MOST_MATCHES_OF_ROUTE) {
    issues.push({
      path: [...SPEC, 'rules'],
      message: `have ${matches} matches; at most ${MOST_MATCHES_OF_ROUTE} are allowed`,
    })
  }
}

function checkBackends(backends: readonly Backend[], prefixes: boolean, rule: Path, issues: Issue[]): void {
  for (const [i, backend] of backends.entries()) {
    const at = [...rule, 'backendRefs', i]
    checkTarget(backend, at, issues)
    const filters = backend.filters ?? []
    checkFilters(filters, prefixes, [...at, 'filters'], issues)
    for (const [j, { type }] of filters.entries()) {
      if (type === 'RequestHeaderModifier' || type === 'ResponseHeaderModifier') continue
      const message = `'${type}' is supported for a whole rule only; write a separate rule for this backend`
      issues.push({ path: [...at, 'filters', j, 'type'], message })
    }
  }
}

function checkTimeouts({ timeouts }: HttpRule, at: Path, issues: Issue[]): void {
  const { request, backendRequest } = timeouts ?? {}
  if (request === undefined || backendRequest === undefined || request === 0) return
  if (backendRequest <= request) return
  issues.push({ path: [...at, 'timeouts', 'backendRequest'], message: "is longer than 'request', which contains it" })
}

function checkSession({ sessionPersistence }: HttpRule | GrpcRule, rule: Path, issues: Issue[]): void {
  if (sessionPersistence === undefined) return
  const at = [...rule, 'sessionPersistence']
  checkSessionPersistence(sessionPersistence, at, issues)
}

/** Whether there is one prefix that a filter can replace. */
function replacesPrefix({ matches }: HttpRule): boolean {
  const [only, ...others] = matches ?? [
    { path: undefined, headers: undefined, queryParams: undefined, method: undefined },
  ]
  return only !== undefined && others.length === 0 && pathOf(only).type === 'PathPrefix'
}
