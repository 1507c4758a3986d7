/** Judges the documents that watchers would get after a change of manifests. */
import { checkMergedDocument } from '../../discovery/check-document.ts'
import { LIMITS } from '../../discovery/limits.ts'
import { withManifests } from '../../gateway-api/attach.ts'
import { type Backend, backendsWithPaths } from '../../gateway-api/backends.ts'
import { type GatewayRoute, readManifest } from '../../gateway-api/read-manifest.ts'
import type { AttachedRoute } from '../../gateway-api/service-routes.ts'
import { formatPath, type Issue } from '../../options/fields.ts'
import { invalid } from '../api/error.ts'
import type { PolicyChange, StoredPolicy } from '../policy-change.ts'
import type { RegistryState } from '../state.ts'
import { isManifestId } from './manifest-records.ts'

/** By service or the id of a manifest; `null` deletes. */
type Documents = ReadonlyMap<string, StoredPolicy | null>

/** @throws ApiError `invalid-policy`: the routes of a service would be too many or too large */
export function refuseMerged(state: RegistryState, documents: Documents): void {
  const routes = new Map<string, GatewayRoute | undefined>()
  const touched = new Map<string, number>()
  for (const [i, [id, document]] of [...documents].entries()) {
    if (!isManifestId(id)) {
      if (state.manifests.of(id).length > 0) touched.set(id, i)
      continue
    }
    const route = document === null ? undefined : readManifest(document).route
    routes.set(id, route)
    const before = state.manifests.entries.get(id)?.route
    for (const { service } of [...(before?.attachments ?? []), ...(route?.attachments ?? [])]) touched.set(service, i)
  }
  for (const [service, index] of touched) {
    const given = documents.get(service)
    const own = given === undefined ? (state.service(service)?.policy?.document ?? null) : given
    const document = withManifests(service, own, attachedAfter(state, service, routes), (name) =>
      state.served.exists(name),
    )
    if (document === null || document === own) continue
    const message = mistakeOf(document)
    if (message === undefined) continue
    throw invalid(
      'policies',
      [{ path: [index], message: `with it, the document of '${service}' ${message}` }],
      'invalid-policy',
    )
  }
}

/** The services that a manifest was or is attached to. */
export function attachedBy({ before, after }: PolicyChange): readonly string[] {
  const routes = [before, after].map((manifest) => (manifest === null ? undefined : readManifest(manifest).route))
  return [...new Set(routes.flatMap((route) => route?.attachments ?? []).map(({ service }) => service))]
}

function mistakeOf(document: StoredPolicy): string | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(document))
  if (bytes > LIMITS.documentBytes) return `has ${bytes} bytes; at most ${LIMITS.documentBytes} are allowed`
  const [issue] = checkMergedDocument(document)
  return issue === undefined ? undefined : `is invalid: ${formatPath(issue.path)}: ${issue.message}`
}

function attachedAfter(
  state: RegistryState,
  service: string,
  changed: ReadonlyMap<string, GatewayRoute | undefined>,
): readonly AttachedRoute[] {
  const now = Number.MAX_SAFE_INTEGER
  const found: AttachedRoute[] = []
  const add = (route: GatewayRoute | undefined, createdAt: number) => {
    if (route?.attachments.some((one) => one.service === service) === true) found.push({ route, createdAt })
  }
  for (const [id, { route, record }] of state.manifests.entries) {
    if (!changed.has(id)) add(route, record?.createdAt ?? now)
  }
  for (const [id, route] of changed) add(route, state.manifests.entries.get(id)?.record?.createdAt ?? now)
  return found
}

/**
 * What a manifest leaves without effect, and where its requests fail now. `documentOf`: the
 * document of a service, without manifests.
 */
export function manifestWarnings(
  state: RegistryState,
  manifest: StoredPolicy,
  documentOf: (service: string) => StoredPolicy | undefined,
): readonly Issue[] {
  const { route } = readManifest(manifest)
  if (route === undefined) return []
  if (route.attachments.length === 0) {
    const message = 'none is a Service, so the manifest is for Gateways, and the mesh does nothing with it'
    return [{ path: ['spec', 'parentRefs'], message }]
  }
  const covered = route.attachments
    .filter(({ service }) => isCovered(service, route, documentOf(service)))
    .map(({ service }) => {
      const message = `no request to '${service}' reaches them: the routes of its document come first and match all that they match`
      return { path: ['spec', 'rules'], message }
    })
  const unknown = backendsWithPaths(route)
    .filter(({ service }) => !state.served.exists(service))
    .map(({ service, path, isMirror }: Backend) => {
      const effect = isMirror ? 'it gets no copies' : 'its share fails with 500, or UNAVAILABLE in gRPC'
      return { path, message: `'${service}' is no service that the registry knows; until it is, ${effect}` }
    })
  return [...covered, ...unknown]
}

/** Whether the routes of its document leave no request of a service to the manifest. */
function isCovered(service: string, route: GatewayRoute, own: StoredPolicy | undefined): boolean {
  if (own === undefined || !Array.isArray(own.routes) || own.routes.length === 0) return false
  const merged = withManifests(service, own, [{ route, createdAt: 0 }], () => true)!
  const added = (merged.routes as readonly { readonly name: string }[]).slice(own.routes.length)
  const { namespace, name } = route.key
  return !added.some((one) => one.name.startsWith(`${namespace}/${name}/`))
}
