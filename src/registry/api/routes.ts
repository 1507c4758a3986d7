/**
 * The plain API: every path, who may ask it, and what it does. Sessions are apart (session.ts);
 * watching is in script-watch.ts.
 */

import { MESH_DOCUMENT } from '../../discovery/policy-document.ts'
import { TOKEN_LIFE_MS } from '../../discovery/registry/wire.ts'
import { type AnyField, fields, type Issue, instance, optional, text, withDefault } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import { duration, integer } from '../../options/quantities.ts'
import { type Access, type Caller, checkAccess } from '../access/access.ts'
import type { Audit } from '../access/audit.ts'
import type { JoinTokens } from '../access/tokens.ts'
import { sourceGroup } from '../address-policy.ts'
import { metricsText } from '../metrics-text.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { type ApiCode, ApiError, invalid } from './error.ts'
import { overrideInstance } from './instances.ts'
import { createOperator, revokeOperator } from './operators.ts'
import { type Precondition, readPrecondition, refusePreconditions } from './precondition.ts'
import { readJson, sendJson, sendText } from './request.ts'

type Handler = (context: ApiContext, exchange: ApiRequest) => void | Promise<void>

export interface ApiRoute {
  readonly method: string
  readonly path: RegExp
  readonly access: Access
  /** It judges preconditions itself, or reads only. */
  readonly versioned: boolean
  /** The parameters that a change takes in its query. */
  readonly query: readonly string[]
  readonly handle: Handler
}

const SERVICE = '([a-z0-9-]{1,63})'

function route(method: string, path: string, access: Access, handle: Handler, query: string[] = []): ApiRoute {
  const pattern = path
    .replace(':service', SERVICE)
    .replace(':id', '([A-Za-z0-9-]{1,64})')
    .replace(':instance', '([A-Za-z0-9._-]{1,128})')
  const versioned = method === 'GET' || path.startsWith('/v1/policies')
  return { method, path: new RegExp(`^${pattern}$`), access, versioned, query, handle }
}

export const ROUTES: readonly ApiRoute[] = [
  route('GET', '/healthz', 'public', (_, { response }) => sendText(response, 200, 'text/plain', 'ok\n')),
  route('GET', '/readyz', 'public', ({ closing }, { response }) =>
    sendText(response, closing() ? 503 : 200, 'text/plain', closing() ? 'closing\n' : 'ready\n'),
  ),
  route('GET', '/metrics', 'read', (context, { response }) =>
    sendText(response, 200, 'text/plain; version=0.0.4; charset=utf-8', metricsText(context)),
  ),
  route('GET', '/v1/bundle', 'public', ({ authority, clock }, { response }) => {
    const { trustDomain, roots, sequence } = authority
    sendJson(response, 200, { trustDomain, sequence, roots, wallNow: clock.wallNow() })
  }),
  route('POST', '/v1/join', 'public', join),
  route('POST', '/v1/renew', 'public', renew),
  route('GET', '/v1/jwks', 'public', ({ signer }, { response }) =>
    sendJson(response, 200, { keys: [signer.jwk] }, { 'cache-control': 'public, max-age=300' }),
  ),
  route('POST', '/v1/jwt', 'read', signToken),
  route('GET', '/v1/services', 'read', ({ watches }, { response }) => watches.list(response)),
  route('GET', '/v1/services/:service', 'read', ({ watches }, { request, response, query, parameters }) =>
    watches.get(request, response, parameters[0]!, query),
  ),
  route('POST', '/v1/services/:service/release', 'admin', releaseFreeze),
  route('PUT', '/v1/services/:service/instances/:instance', 'admin', overrideInstance),
  route('GET', '/v1/watch', 'read', ({ watches }, { request, response, query }) =>
    watches.stream(request, response, query),
  ),
  route('GET', '/v1/policies', 'operator', ({ policies }, { response }) =>
    sendJson(response, 200, { policies: policies.list() }),
  ),
  // `dryRun` changes nothing, so whoever may read may ask.
  route('POST', '/v1/policies', 'operator', applyPolicies, ['dryRun']),
  route('GET', '/v1/policies/:service', 'operator', ({ policies }, { response, parameters }) => {
    const info = policies.get(parameters[0]!)
    sendJson(response, 200, info, { etag: `"${info.version}"` })
  }),
  route('PUT', '/v1/policies/:service', 'admin', putPolicy, ['dryRun']),
  route('DELETE', '/v1/policies/:service', 'admin', async ({ policies }, exchange) => {
    const condition = readPrecondition(exchange.request.headers)
    sendJson(exchange.response, 200, await policies.remove(exchange.parameters[0]!, by(exchange.caller), condition))
  }),
  route('GET', '/v1/policies/:service/history', 'operator', ({ policies }, { response, parameters }) =>
    sendJson(response, 200, { versions: policies.history(parameters[0]!) }),
  ),
  route('POST', '/v1/policies/:service/rollback', 'admin', async ({ policies, clock }, exchange) => {
    const condition = readPrecondition(exchange.request.headers)
    const { version } = read(ROLLBACK, await readJson(exchange.request, clock), 'rollback')
    const change = await policies.rollback(exchange.parameters[0]!, version, by(exchange.caller), condition)
    sendJson(exchange.response, 200, change)
  }),
  route('GET', '/v1/tokens', 'operator', ({ tokens }, { response }) =>
    sendJson(response, 200, { tokens: tokens.list() }),
  ),
  route('POST', '/v1/tokens', 'admin', createToken),
  route('DELETE', '/v1/tokens/:id', 'admin', async ({ tokens }, { response, caller, parameters }) => {
    await tokens.remove(parameters[0]!, caller.name, caller.source)
    sendJson(response, 200, { id: parameters[0]!, deleted: true })
  }),
  route('GET', '/v1/operators', 'operator', ({ operators }, { response }) =>
    sendJson(response, 200, { operators: operators.list() }),
  ),
  route('POST', '/v1/operators', 'admin', createOperator),
  route('DELETE', '/v1/operators/:id', 'admin', revokeOperator),
  route('GET', '/v1/audit', 'operator', ({ state, audit }, { response }) =>
    sendJson(response, 200, { audit: [...state.audit].reverse(), suppressed: audit.suppressed }),
  ),
]

/**
 * A change that does not know `dry-run`, or no dry run at all, must not be made instead. @throws
 * ApiError `invalid-request`
 */
export function refuseUnknownQuery(given: URLSearchParams, { method, query }: ApiRoute): void {
  if (method === 'GET') return
  const unknown = [...given.keys()].find((key) => !query.includes(key))
  if (unknown === undefined) return
  const known = query.length === 0 ? 'this change takes no parameters' : `there is ${query.join(', ')}`
  throw invalid('query', [{ path: [unknown.slice(0, 100)], message: `unknown; ${known}` }])
}

const ROLLBACK = fields({ version: integer({ min: 1, max: Number.MAX_SAFE_INTEGER }) })
const JOIN = fields({
  service: serviceName(),
  csr: text('a signing request in PEM', /^[\s\S]+$/, 16_384),
  token: optional(text('a join token', /^[A-Za-z0-9._-]+$/, 256)),
})
const RENEW = fields({ csr: text('a signing request in PEM', /^[\s\S]+$/, 16_384) })
/** A signing request in JSON, and a token. */
const LONGEST_JOIN = 32_768
/** What is refused to those who try one token after the other. */
const GUESSES: ReadonlySet<ApiCode> = new Set([
  'token-missing',
  'token-unknown',
  'token-used',
  'token-expired',
  'token-wrong-service',
  'csr-invalid',
  'invalid-request',
])
const TOO_MANY_GUESSES = 'too many joins from this address were refused; try again later'
const JWT = fields({
  // Of visible ASCII characters: it is compared byte by byte.
  audience: text('an audience of visible characters, such as a SPIFFE id, a service or a URL', /^[\x21-\x7e]+$/, 512),
  ttlMs: withDefault(duration({ min: TOKEN_LIFE_MS.least, max: TOKEN_LIFE_MS.most }), TOKEN_LIFE_MS.byDefault),
})
const TTL = duration({ min: 1_000, max: 30 * 86_400_000 })
const DEFAULT_TTL_MS = 600_000

const APPLY = fields({
  documents: instance<readonly unknown[]>('a list of policy documents', Array.isArray),
  /** By service, the version in force that the change is meant for; 0: none. */
  expected: optional(instance<Readonly<Record<string, number>>>('versions by service', areVersions)),
})

function areVersions(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((version) => Number.isSafeInteger(version) && (version as number) >= 0)
}

/** What a new token may be; the same from code and from the API. */
export const NEW_TOKEN = {
  service: serviceName(),
  uses: withDefault(integer({ min: 1, max: 100_000 }), 1),
  ttl: withDefault(TTL, DEFAULT_TTL_MS, '10m'),
}
const NEW_TOKEN_BODY = fields({ ...NEW_TOKEN, ttl: optional(TTL), ttlMs: optional(TTL) })

function read<T>(description: AnyField<T>, value: unknown, what: string): T {
  const issues: Issue[] = []
  const parsed = description.parse(value, [], issues)
  if (issues.length > 0) throw invalid(what, issues)
  return parsed
}

function by(caller: Caller): { by: string; source: string } {
  return { by: caller.name, source: caller.source }
}

async function join(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { authority, audit, tokens, joins, clock, dev } = context
  let service: string | undefined
  const group = sourceGroup(caller.source)
  try {
    const body = read(JOIN, await readJson(request, clock, LONGEST_JOIN), 'join')
    service = body.service
    if (service === MESH_DOCUMENT) throw new ApiError('invalid-request', `'${MESH_DOCUMENT}' is not a service`)
    // Before everything that costs: who has a valid token pays with its uses, and no stranger takes
    // a place in the queue.
    checkToken(tokens, body.token, service, dev)
    const key = authority.readRequest(body.csr)
    await authority.admitSigning(service)
    // At the end, so that a bad request or a busy registry does not cost a use.
    if (body.token !== undefined) await tokens.redeem(body.token, service)
    const answer = authority.issue(service, key)
    audit.record({ who: caller.name, source: caller.source, action: 'join', outcome: 'done', service })
    sendJson(response, 200, answer)
  } catch (error) {
    // Guesses are counted by source; one more while they are too many is not worth an answer of its
    // own.
    const guess = error instanceof ApiError && GUESSES.has(error.code)
    const refusal = guess && !joins.take(group) ? new ApiError('rate-limited', TOO_MANY_GUESSES) : error
    throw audited(audit, 'join', caller, service, refusal)
  }
}

function checkToken(tokens: JoinTokens, token: string | undefined, service: string, dev: boolean): void {
  if (token !== undefined) tokens.check(token, service)
  else if (!dev) throw new ApiError('token-missing', 'joining needs a join token: inmesh token create')
}

async function renew(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { authority, audit, clock } = context
  const { service } = caller
  try {
    if (service === undefined) throw new ApiError('identity-required', 'renewing needs the certificate in force')
    const body = read(RENEW, await readJson(request, clock, LONGEST_JOIN), 'renew')
    const key = authority.readRequest(body.csr)
    await authority.admitSigning(service)
    sendJson(response, 200, authority.issue(service, key))
  } catch (error) {
    throw audited(audit, 'renew', caller, service, error)
  }
}

/** The audit tells that it happened (registrar); here, who wanted it. */
function releaseFreeze({ state, registrar, audit }: ApiContext, { response, caller, parameters }: ApiRequest): void {
  const service = parameters[0]!
  if (state.service(service) === undefined) throw new ApiError('not-found', `there is no service '${service}'`)
  const expired = registrar.leases.release(service)
  if (expired === undefined) throw new ApiError('conflict', `expiry of '${service}' is not frozen`)
  const { name: who, source } = caller
  audit.record({ who, source, action: 'release', outcome: 'done', service, detail: `${expired} expired` })
  sendJson(response, 200, { service, expired })
}

async function signToken(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { signer, audit, clock } = context
  try {
    const { audience, ttlMs } = read(JWT, await readJson(request, clock), 'jwt')
    sendJson(response, 200, await signer.sign(caller, audience, ttlMs))
  } catch (error) {
    throw audited(audit, 'jwt', caller, caller.service, error)
  }
}

function audited(audit: Audit, action: string, caller: Caller, service: string | undefined, error: unknown): unknown {
  if (!(error instanceof ApiError)) return error
  const { name, source } = caller
  const entry = { who: name, source, action, outcome: 'refused', reason: error.code, detail: error.message } as const
  audit.record(service === undefined ? entry : { ...entry, service })
  return error
}

async function applyPolicies(
  { policies, clock }: ApiContext,
  { request, response, caller, query }: ApiRequest,
): Promise<void> {
  const dryRun = isOn(query.get('dryRun'))
  if (!dryRun) checkAccess(caller, 'admin')
  const hint = "is about one document; say which versions you expect as 'expected' in the body"
  refusePreconditions(request.headers, hint)
  const body = await readJson(request, clock)
  const { documents, expected = {} } = read(APPLY, Array.isArray(body) ? { documents: body } : body, 'policies')
  const wanted = Object.entries(expected).map(([service, version]): [string, Precondition] => [
    service,
    (current) => (current ?? 0) === version,
  ])
  const services = new Set(documents.map((one) => (one as { service?: unknown } | null)?.service))
  const without = wanted.find(([service]) => !services.has(service))
  if (without !== undefined) {
    throw invalid('policies', [{ path: ['expected', without[0]], message: 'there is no document of this service' }])
  }
  const options = { dryRun, condition: new Map(wanted) }
  const changes = await policies.apply(documents, by(caller), options)
  sendJson(response, 200, { changes })
}

async function putPolicy({ policies, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller, query, parameters } = exchange
  const service = parameters[0]!
  const body = await readJson(request, clock)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid('policy', [{ path: [], message: 'expected a policy document' }])
  }
  const document: Record<string, unknown> = { service, ...body }
  if (document.service !== service) {
    throw invalid('policy', [{ path: ['service'], message: `expected '${service}', as in the path` }])
  }
  const condition = readPrecondition(request.headers)
  const [change] = await policies.apply([document], by(caller), {
    dryRun: isOn(query.get('dryRun')),
    ...(condition === undefined ? {} : { condition: new Map([[service, condition]]) }),
  })
  sendJson(response, 200, change)
}

async function createToken({ tokens, clock }: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const body = read(NEW_TOKEN_BODY, await readJson(request, clock), 'token')
  if (body.service === MESH_DOCUMENT) throw new ApiError('invalid-request', `'${MESH_DOCUMENT}' is not a service`)
  const ttlMs = body.ttlMs ?? body.ttl ?? DEFAULT_TTL_MS
  const { token, record } = await tokens.create(
    { service: body.service, uses: body.uses, ttlMs },
    caller.name,
    caller.source,
  )
  sendJson(response, 201, { ...record, token })
}

function isOn(value: string | null): boolean {
  return value !== null && value !== '0' && value !== 'false'
}
