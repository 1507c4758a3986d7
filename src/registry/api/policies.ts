/** Changes of policy documents: many at once, or one by its path. */
import { isManifest } from '../../gateway-api/manifest.ts'
import { fields, instance, optional } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import { DEFAULT_NAMESPACE } from '../../routing/match.ts'
import { checkAccess } from '../access/access.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { invalid } from './error.ts'
import { actorOf, checkBody } from './handling.ts'
import { type Precondition, readPrecondition, refusePreconditions } from './precondition.ts'
import { readJson, sendJson } from './request.ts'

const APPLY = fields({
  documents: instance<readonly unknown[]>('a list of policy documents', Array.isArray),
  /** By service, or by kind, namespace and name of a manifest: the version in force; 0: none. */
  expected: optional(instance<Readonly<Record<string, number>>>('versions by service', areVersions)),
})

function areVersions(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((version) => Number.isSafeInteger(version) && (version as number) >= 0)
}

export async function applyPolicies(
  { policies, clock }: ApiContext,
  { request, response, caller, query }: ApiRequest,
): Promise<void> {
  const dryRun = isOn(query.get('dryRun'))
  if (!dryRun) checkAccess(caller, 'admin')
  const hint = "is about one document; say which versions you expect as 'expected' in the body"
  refusePreconditions(request.headers, hint)
  const body = await readJson(request, clock)
  const { documents, expected = {} } = checkBody(APPLY, Array.isArray(body) ? { documents: body } : body, 'policies')
  const wanted = Object.entries(expected).map(([service, version]): [string, Precondition] => [
    service,
    (current) => (current ?? 0) === version,
  ])
  const given = new Set(documents.map(idOf))
  const without = wanted.find(([id]) => !given.has(id))
  if (without !== undefined) {
    throw invalid('policies', [{ path: ['expected', without[0]], message: 'there is no document of this name' }])
  }
  const options = { dryRun, condition: new Map(wanted) }
  const changes = await policies.apply(documents, actorOf(caller), options)
  sendJson(response, 200, { changes, warnings: policies.warnings(changes) })
}

/** What is not valid is refused when it is read. */
function idOf(document: unknown): unknown {
  if (!isManifest(document)) return (document as { service?: unknown } | null)?.service
  const { metadata } = document as { metadata?: { namespace?: unknown; name?: unknown } | null }
  return `${String(document.kind)}/${String(metadata?.namespace ?? DEFAULT_NAMESPACE)}/${String(metadata?.name)}`
}

export async function putPolicy({ policies, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
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
  const [change] = await policies.apply([document], actorOf(caller), {
    dryRun: isOn(query.get('dryRun')),
    ...(condition === undefined ? {} : { condition: new Map([[service, condition]]) }),
  })
  sendJson(response, 200, { ...change, warnings: policies.warnings([change!]) })
}

/** Of a parameter such as `dryRun`. */
export function isOn(value: string | null): boolean {
  return value !== null && value !== '0' && value !== 'false'
}

export const ROLLBACK = fields({ version: integer({ min: 1, max: Number.MAX_SAFE_INTEGER }) })
