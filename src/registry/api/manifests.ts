/** Gateway API manifests, one by its path. Many at once are applied together with policies. */
import { isManifest, MANIFEST_KINDS, type ManifestKey, type ManifestKind } from '../../gateway-api/manifest.ts'
import { manifestId } from '../manifests/manifest-records.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError, invalid } from './error.ts'
import { actorOf, checkBody } from './handling.ts'
import { isOn, ROLLBACK } from './policies.ts'
import { readPrecondition } from './precondition.ts'
import { readJson, sendJson } from './request.ts'

function keyOf({ parameters }: ApiRequest): ManifestKey {
  const [kind, namespace, name] = parameters as [ManifestKind, string, string]
  if (!MANIFEST_KINDS.includes(kind)) {
    throw new ApiError('not-found', `there are no manifests of kind '${kind}'; there are ${MANIFEST_KINDS.join(', ')}`)
  }
  return { kind, namespace, name }
}

export function listManifests({ policies }: ApiContext, { response }: ApiRequest): void {
  sendJson(response, 200, { manifests: policies.listManifests() })
}

export function getManifest({ policies }: ApiContext, exchange: ApiRequest): void {
  const info = policies.getManifest(manifestId(keyOf(exchange)))
  sendJson(exchange.response, 200, info, { etag: `"${info.version}"` })
}

export async function putManifest({ policies, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller, query } = exchange
  const key = keyOf(exchange)
  const body = await readJson(request, clock)
  if (!isManifest(body))
    throw invalid('manifest', [{ path: [], message: 'expected a manifest, with apiVersion and kind' }])
  checkKey(body, key)
  const condition = readPrecondition(request.headers)
  const [change] = await policies.apply([body], actorOf(caller), {
    dryRun: isOn(query.get('dryRun')),
    ...(condition === undefined ? {} : { condition: new Map([[manifestId(key), condition]]) }),
  })
  sendJson(response, 200, { ...change, warnings: policies.warnings([change!]) })
}

function checkKey({ kind, metadata }: Readonly<Record<string, unknown>>, key: ManifestKey): void {
  const { namespace = 'default', name } = (metadata ?? {}) as { readonly namespace?: unknown; readonly name?: unknown }
  const differs = (
    [
      ['kind', kind, key.kind],
      ['metadata.namespace', namespace, key.namespace],
      ['metadata.name', name, key.name],
    ] as const
  ).find(([, given, expected]) => given !== expected)
  if (differs === undefined) return
  throw invalid('manifest', [{ path: differs[0].split('.'), message: `expected '${differs[2]}', as in the path` }])
}

export async function deleteManifest({ policies }: ApiContext, exchange: ApiRequest): Promise<void> {
  const condition = readPrecondition(exchange.request.headers)
  const id = manifestId(keyOf(exchange))
  sendJson(exchange.response, 200, await policies.remove(id, actorOf(exchange.caller), condition))
}

export function manifestHistory({ policies }: ApiContext, exchange: ApiRequest): void {
  sendJson(exchange.response, 200, { versions: policies.history(manifestId(keyOf(exchange))) })
}

export async function rollbackManifest({ policies, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const condition = readPrecondition(exchange.request.headers)
  const { version } = checkBody(ROLLBACK, await readJson(exchange.request, clock), 'rollback')
  const change = await policies.rollback(manifestId(keyOf(exchange)), version, actorOf(exchange.caller), condition)
  sendJson(exchange.response, 200, { ...change, warnings: policies.warnings([change]) })
}
