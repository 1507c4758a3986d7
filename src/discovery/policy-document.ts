/**
 * One document of policy per service, and `mesh` for the defaults of all. A document says only what
 * it says: defaults are filled in when the documents of `mesh` and of a service have been merged,
 * so that a later change of either counts.
 */
import { parseDuration } from '../options/duration.ts'
import {
  check,
  fields,
  type Issue,
  type JsonSchema,
  list,
  oneOf,
  optional,
  type Parsed,
  show,
  text,
} from '../options/fields.ts'
import { grpcMethod, serviceName } from '../options/names.ts'
import { HASHING_BALANCERS } from '../resilience/balancing-settings.ts'
import { SERVICE, type ServiceOptions, type ServiceSettings } from '../resilience/settings.ts'

/** The document of this name holds the defaults of all services. */
export const MESH_DOCUMENT = 'mesh'

/**
 * The methods an intention may name: RFC 9110, RFC 5789 (PATCH) and QUERY; not CONNECT, which no
 * service of a mesh answers.
 */
export const INTENTION_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'] as const

/**
 * Who may call what of a service. With neither `methods`, `paths` nor `grpc`: everything. With
 * `methods` or `paths`: HTTP requests that match both, and no gRPC call unless `grpc` names it.
 * With `grpc` alone: those gRPC calls and no HTTP request.
 */
export interface Intention {
  /** The calling service's exact name, or `*` for any service of the mesh. */
  readonly from: string
  readonly methods?: readonly (typeof INTENTION_METHODS)[number][]
  /**
   * `/exact`; a final `*` stands for any rest, at least one character; a `*` elsewhere for exactly
   * one segment.
   */
  readonly paths?: readonly string[]
  /** `pkg.Service/Method`, or `pkg.Service/*` for all its methods. */
  readonly grpc?: readonly string[]
}

/** A document as it is written, applied, stored and sent. */
export interface PolicyDocument extends ServiceOptions {
  readonly service: string
  /**
   * Replaces the list of `mesh`. With a list, only its callers may call, whatever the default;
   * `[]`: no caller may.
   */
  readonly allow?: readonly Intention[]
  /**
   * Only in `mesh`: what holds for services without a list. @defaultValue `deny`; `allow` in a mesh
   * started with `--dev`
   */
  readonly defaultIntention?: 'allow' | 'deny'
}

/** Everything that is in force for one service. Frozen. */
export interface ServicePolicy {
  readonly settings: ServiceSettings
  readonly allow: readonly Intention[]
  /** What holds for a caller that no intention names. */
  readonly defaultIntention: 'allow' | 'deny'
}

const FROM = /^(?:\*|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/
const PATH = /^(?=\/)(?:\/(?!\.{1,2}(?:\/|$))(?:\*|(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})+))*\/?$/

const INTENTION = fields({
  from: text("the name of a calling service, or '*' for any", FROM, 63),
  methods: optional(list(oneOf(INTENTION_METHODS), { min: 1, max: INTENTION_METHODS.length })),
  paths: optional(
    list(
      text(
        "a path that begins with '/', such as '/items/42', '/items/*' (any rest) or '/items/*/stock' (any segment); '*' only as a whole segment, no query",
        PATH,
        1_024,
      ),
      { min: 1, max: 200 },
    ),
  ),
  grpc: optional(list(grpcMethod(), { min: 1, max: 200 })),
})

const DOCUMENT = fields({
  service: serviceName(),
  ...SERVICE.shape,
  allow: optional(list(INTENTION, { max: 1_000 })),
  defaultIntention: optional(oneOf(['allow', 'deny'])),
})

/** Far above any sensible document; what is larger is not even looked at. */
const DEEPEST = 8
const MOST_VALUES = 20_000
const LONGEST_KEY = 128
const LONGEST_TEXT = 2_048
/** More mistakes than this help no reader. */
const MOST_ISSUES = 50

/**
 * Every mistake of a document; empty if there is none. Never throws, whatever `value` is.
 *
 * @example
 * ```ts
 * checkPolicyDocument({ service: 'inventory', retry: { atempts: 3 } })
 * // [{ path: ['retry', 'atempts'], message: "unknown key; did you mean 'attempts'?" }]
 * ```
 */
export function checkPolicyDocument(value: unknown): readonly Issue[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: [], message: `expected a document with the key 'service', got ${show(value)}` }]
  }
  const size = sizeIssue(value, [], { left: MOST_VALUES })
  if (size !== undefined) return [size]
  const issues: Issue[] = []
  DOCUMENT.parse(value, [], issues)
  // Only a document right in itself has values worth comparing.
  if (issues.length === 0) compareFields(value as PolicyDocument, issues)
  return issues.slice(0, MOST_ISSUES)
}

/** Also ends values that contain themselves. */
function sizeIssue(value: unknown, path: readonly (string | number)[], count: { left: number }): Issue | undefined {
  if (typeof value === 'string' && value.length > LONGEST_TEXT) {
    return { path, message: `is text of ${value.length} characters; at most ${LONGEST_TEXT} are allowed` }
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (path.length >= DEEPEST) return { path, message: `is nested deeper than ${DEEPEST} levels` }
  const inArray = Array.isArray(value)
  for (const key of Object.keys(value)) {
    if (key.length > LONGEST_KEY) return { path, message: `has a key of ${key.length} characters` }
    count.left -= 1
    if (count.left < 0) return { path: [], message: `holds more than ${MOST_VALUES} values` }
    const inner = sizeIssue((value as Record<string, unknown>)[key], [...path, inArray ? Number(key) : key], count)
    if (inner !== undefined) return inner
  }
  return undefined
}

/**
 * Values that are valid alone but not together. Only what is written is compared: what is not may
 * come from `mesh`.
 */
function compareFields(document: PolicyDocument, issues: Issue[]): void {
  const { retry, ejection, healthCheck, balancer } = document
  const atMost = (path: string[], value: unknown, limitName: string, limit: unknown) => {
    const [ms, limitMs] = [parseDuration(value), parseDuration(limit)]
    if (ms !== undefined && limitMs !== undefined && ms > limitMs) {
      issues.push({ path, message: `expected at most ${limitName} (${String(limit)}), got ${String(value)}` })
    }
  }
  atMost(['retry', 'perTryTimeout'], retry?.perTryTimeout, 'timeout', document.timeout)
  atMost(['retry', 'backoff', 'base'], retry?.backoff?.base, 'retry.backoff.max', retry?.backoff?.max)
  if (typeof ejection === 'object')
    atMost(['ejection', 'baseTime'], ejection.baseTime, 'ejection.maxTime', ejection.maxTime)
  if (typeof healthCheck === 'object')
    atMost(['healthCheck', 'timeout'], healthCheck.timeout, 'healthCheck.interval', healthCheck.interval)
  if (typeof balancer === 'object' && balancer.key !== undefined && !HASHING_BALANCERS.has(balancer.name)) {
    issues.push({
      path: ['balancer', 'key'],
      message: `is not used by '${balancer.name}', only by 'ring-hash' and 'maglev'`,
    })
  }
  if (document.defaultIntention === undefined) return
  if (document.service !== MESH_DOCUMENT) {
    issues.push({ path: ['defaultIntention'], message: `is valid in the document of '${MESH_DOCUMENT}' only` })
  } else if (document.defaultIntention === 'allow' && document.allow !== undefined) {
    issues.push({
      path: ['defaultIntention'],
      message:
        "is 'allow', which the list 'allow' of this document contradicts: with a list, nobody else may call; leave one out",
    })
  }
}

/**
 * What is in force for a service: its document over that of `mesh` over the defaults. Objects are
 * merged key by key, lists are replaced. Both documents must have been checked; then it never
 * throws.
 *
 * @param meshDocument - the document of `mesh`, or `null`
 * @param serviceDocument - the service's own, or `null`
 * @throws OptionsError if a document was not checked and is wrong
 * @example
 * ```ts
 * resolvePolicy({ service: 'mesh', timeout: '2s' }, { service: 'inventory', retry: { attempts: 2 } }).settings.timeoutMs // 2000
 * ```
 */
export function resolvePolicy(
  meshDocument: PolicyDocument | null,
  serviceDocument: PolicyDocument | null,
  options: { readonly dev?: boolean } = {},
): ServicePolicy {
  const merged = merge(meshDocument ?? {}, serviceDocument ?? {})
  const given: Parsed<typeof DOCUMENT> = check(DOCUMENT, { service: MESH_DOCUMENT, ...merged }, 'policy')
  // The mesh's word, even if an unchecked service document says otherwise.
  const unnamed = meshDocument?.defaultIntention ?? (options.dev === true ? 'allow' : 'deny')
  return Object.freeze({
    settings: fitTogether(SERVICE.settings(given)),
    allow: Object.freeze((given.allow ?? []).map(withoutGaps)),
    defaultIntention: given.allow === undefined ? unnamed : 'deny',
  })
}

/**
 * Values from two documents may not fit each other: the total wins over its parts, a first wait
 * over the longest.
 */
function fitTogether(settings: ServiceSettings): ServiceSettings {
  const { retry, timeoutMs } = settings
  const { baseMs, maxMs, jitter } = retry.backoff
  if (retry.perTryTimeoutMs <= timeoutMs && baseMs <= maxMs) return settings
  const backoff = Object.freeze({ baseMs, maxMs: Math.max(baseMs, maxMs), jitter })
  const perTryTimeoutMs = Math.min(retry.perTryTimeoutMs, timeoutMs)
  return Object.freeze({ ...settings, retry: Object.freeze({ ...retry, perTryTimeoutMs, backoff }) })
}

function withoutGaps(given: Parsed<typeof INTENTION>): Intention {
  const { from, methods, paths, grpc } = given
  return Object.freeze({
    from,
    ...(methods !== undefined && { methods }),
    ...(paths !== undefined && { paths }),
    ...(grpc !== undefined && { grpc }),
  })
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Into objects without a prototype, so that no key means more than itself. */
function merge(under: object, over: object): Record<string, unknown> {
  const merged: Record<string, unknown> = Object.create(null)
  for (const [key, value] of Object.entries(under)) merged[key] = value
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue
    const below = merged[key]
    merged[key] = isObject(below) && isObject(value) ? merge(below, value) : value
  }
  return merged
}

/** The JSON Schema (2020-12) of a document, as published in `policy.schema.json`. */
export function policyJsonSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'inmesh policy document',
    description: `The policy of one service, or of all with service: ${MESH_DOCUMENT}`,
    ...DOCUMENT.schema,
    if: { not: { properties: { service: { const: MESH_DOCUMENT } } } },
    then: { properties: { defaultIntention: false } },
  }
}
