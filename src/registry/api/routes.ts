/**
 * The routes of the plain API: path, access and handler.
 */
import type { Access } from '../access/access.ts'
import { metricsText } from '../metrics-text.ts'
import { sendBackup } from './backup.ts'
import { authorityStatus, importIntermediate, requestIntermediate, rotate } from './ca.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { allow, deny } from './denials.ts'
import { ApiError, invalid } from './error.ts'
import { explainRequest } from './explain.ts'
import { actorOf, checkBody } from './handling.ts'
import { overrideInstance } from './instances.ts'
import { join, renew } from './join.ts'
import { signToken } from './jwt.ts'
import {
  deleteManifest,
  getManifest,
  listManifests,
  manifestHistory,
  putManifest,
  rollbackManifest,
} from './manifests.ts'
import { createOperator, revokeOperator, rotateOperator } from './operators.ts'
import { applyPolicies, putPolicy, ROLLBACK } from './policies.ts'
import { readPrecondition } from './precondition.ts'
import { readJson, sendJson, sendText } from './request.ts'
import { answerTap, tap } from './tap.ts'
import { createToken } from './tokens.ts'
import { sendEvents, sendGraph, sendInstances, sendRoutes, sendSeries, sendServices, streamGraph } from './traffic.ts'
import { sendCertificates } from './traffic-certificates.ts'
import { answerRegistry } from './traffic-local.ts'
import { splitService, switchService } from './weights.ts'

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
const MANIFEST = '/v1/manifests/([A-Za-z0-9]{1,63})/([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})'

function route(method: string, path: string, access: Access, handle: Handler, query: string[] = []): ApiRoute {
  const pattern = path
    .replace(':service', SERVICE)
    .replace(':id', '([A-Za-z0-9-]{1,64})')
    .replace(':spiffe', '([^/]{1,6000})')
    .replace(':instance', '([A-Za-z0-9._-]{1,128})')
  const versioned = method === 'GET' || path.startsWith('/v1/policies') || path.startsWith('/v1/manifests')
  return { method, path: new RegExp(`^${pattern}$`), access, versioned, query, handle }
}

export const ROUTES: readonly ApiRoute[] = [
  route('GET', '/healthz', 'public', (_, { response }) => sendText(response, 200, 'text/plain', 'ok\n')),
  route('GET', '/livez', 'public', (_, { response }) => sendText(response, 200, 'text/plain', 'ok\n')),
  route('GET', '/readyz', 'public', ({ fleet: { reason } }, { response }) =>
    sendText(response, reason === undefined ? 200 : 503, 'text/plain', `${reason ?? 'ready'}\n`),
  ),
  route('GET', '/v1/registry', 'read', ({ fleet }, { response }) => sendJson(response, 200, fleet.status())),
  route('GET', '/v1/registries', 'operator', async ({ fleet }, { response }) =>
    sendJson(response, 200, { registries: await fleet.list() }),
  ),
  route('GET', '/metrics', 'read', (context, { response }) =>
    sendText(response, 200, 'text/plain; version=0.0.4; charset=utf-8', metricsText(context)),
  ),
  route('GET', '/v1/bundle', 'public', ({ authority, clock }, { response }) => {
    sendJson(response, 200, { ...authority.bundle, wallNow: clock.wallNow() })
  }),
  route('POST', '/v1/join', 'public', join),
  route('POST', '/v1/renew', 'public', renew),
  route('GET', '/v1/jwks', 'public', ({ signer }, { response }) =>
    // A cache keeps a key from its verifiers for less than it is published before it signs.
    sendJson(response, 200, { keys: signer.jwks }, { 'cache-control': 'public, max-age=30' }),
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
  // `dryRun` changes nothing, so a read-only operator may ask.
  route('POST', '/v1/policies', 'operator', applyPolicies, ['dryRun']),
  route('GET', '/v1/policies/:service', 'operator', ({ policies }, { response, parameters }) => {
    const info = policies.get(parameters[0]!)
    sendJson(response, 200, info, { etag: `"${info.version}"` })
  }),
  route('PUT', '/v1/policies/:service', 'admin', putPolicy, ['dryRun']),
  route('DELETE', '/v1/policies/:service', 'admin', async ({ policies }, exchange) => {
    const condition = readPrecondition(exchange.request.headers)
    sendJson(
      exchange.response,
      200,
      await policies.remove(exchange.parameters[0]!, actorOf(exchange.caller), condition),
    )
  }),
  route('GET', '/v1/policies/:service/history', 'operator', ({ policies }, { response, parameters }) =>
    sendJson(response, 200, { versions: policies.history(parameters[0]!) }),
  ),
  route('POST', '/v1/policies/:service/rollback', 'admin', async ({ policies, clock }, exchange) => {
    const condition = readPrecondition(exchange.request.headers)
    const { version } = checkBody(ROLLBACK, await readJson(exchange.request, clock), 'rollback')
    const change = await policies.rollback(exchange.parameters[0]!, version, actorOf(exchange.caller), condition)
    sendJson(exchange.response, 200, { ...change, warnings: policies.warnings([change]) })
  }),
  // As for POST /v1/policies.
  route('POST', '/v1/policies/:service/split', 'operator', splitService, ['dryRun']),
  route('POST', '/v1/policies/:service/switch', 'operator', switchService, ['dryRun']),
  route('GET', '/v1/manifests', 'operator', listManifests),
  route('GET', MANIFEST, 'operator', getManifest),
  route('PUT', MANIFEST, 'admin', putManifest, ['dryRun']),
  route('DELETE', MANIFEST, 'admin', deleteManifest),
  route('GET', `${MANIFEST}/history`, 'operator', manifestHistory),
  route('POST', `${MANIFEST}/rollback`, 'admin', rollbackManifest),
  // A request to explain is no change, whatever its method.
  route('POST', '/v1/explain', 'operator', explainRequest),
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
  route('POST', '/v1/operators/:id/rotate', 'admin', rotateOperator),
  route('GET', '/v1/denials', 'operator', ({ denials }, { response }) =>
    sendJson(response, 200, { denials: denials.list() }),
  ),
  route('POST', '/v1/denials', 'admin', deny),
  route('DELETE', '/v1/denials/:spiffe', 'admin', allow),
  // No read: it has the keys of the authority.
  route('POST', '/v1/backup', 'admin', sendBackup),
  route('GET', '/v1/ca', 'operator', authorityStatus),
  route('POST', '/v1/ca/rotate', 'admin', rotate),
  route('POST', '/v1/ca/csr', 'admin', requestIntermediate),
  route('POST', '/v1/ca/import', 'admin', importIntermediate),
  route('POST', '/v1/tap', 'admin', tap),
  route('GET', '/v1/tap/local', 'registry', answerTap),
  route('GET', '/v1/traffic/graph', 'operator', sendGraph),
  route('GET', '/v1/traffic/services', 'operator', sendServices),
  route('GET', '/v1/traffic/series', 'operator', sendSeries),
  route('GET', '/v1/traffic/routes', 'operator', sendRoutes),
  route('GET', '/v1/traffic/instances', 'operator', sendInstances),
  route('GET', '/v1/traffic/events', 'operator', sendEvents),
  route('GET', '/v1/traffic/certificates', 'operator', sendCertificates),
  route('GET', '/v1/traffic/stream', 'operator', streamGraph),
  route('GET', '/v1/traffic/local', 'registry', answerRegistry),
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

/** The audit tells that it happened (registrar); here, who wanted it. */
async function releaseFreeze({ state, registrar }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { response, caller, parameters } = exchange
  const service = parameters[0]!
  if (state.service(service) === undefined) throw new ApiError('not-found', `there is no service '${service}'`)
  const { name: who, source } = caller
  const expired = await registrar.freezes.releaseByOperator(service, (count) => {
    return { who, source, action: 'release', outcome: 'done', service, detail: `${count} expired` }
  })
  if (expired === undefined) throw new ApiError('conflict', `expiry of '${service}' is not frozen`)
  sendJson(response, 200, { service, expired })
}
