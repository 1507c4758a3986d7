/** The documents in force: of a service, of the mesh, and the manifests attached to a service. */
import type { ManifestInfo, PolicyInfo } from '../../registry/policies.ts'
import { type Answered, useAnswer } from '../use-answer.ts'

const EVERY_MS = 10_000
export function useDocuments(): Answered<{ policies: readonly PolicyInfo[] }> {
  return useAnswer<{ policies: readonly PolicyInfo[] }>('/v1/policies', EVERY_MS)
}

export function useManifests(): readonly ManifestInfo[] {
  return useAnswer<{ manifests: readonly ManifestInfo[] }>('/v1/manifests', EVERY_MS).answer?.manifests ?? []
}

/** Where the registry has a manifest. */
export function pathOf({ kind, namespace, name }: ManifestInfo): string {
  return `/v1/manifests/${kind}/${namespace}/${name}`
}
