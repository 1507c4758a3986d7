/**
 * Where a document stands: its record, its history and its keys. Services have their documents by
 * name, manifests by kind, namespace and name; both are applied, kept and rolled back alike.
 */
import { describeId, isManifestId } from './manifests/manifest-records.ts'
import type { StoredPolicy } from './policy-change.ts'
import { KEYS, type ManifestRecord, type PolicyRecord } from './records.ts'
import { type RegistryState, VERSIONS_KEPT } from './state.ts'
import type { Compare, Operation } from './storage/storage.ts'

export interface DocumentSlot {
  /** `null`: there never was one, or it is forgotten. */
  readonly current: PolicyRecord | null
  /** Oldest first. */
  readonly versions: readonly PolicyRecord[]
  /** Begins or continues a sentence: `the policy of 'inventory'`. */
  readonly what: string
}

/** `id`: a service, or a manifest's id. */
export function slotOf(state: RegistryState, id: string): DocumentSlot {
  if (!isManifestId(id)) {
    const entry = state.service(id)
    return { current: entry?.policy ?? null, versions: entry?.versions ?? [], what: `the policy of '${id}'` }
  }
  const entry = state.manifests.entries.get(id)
  return { current: entry?.record ?? null, versions: entry?.versions ?? [], what: `the ${describeId(id)}` }
}

/** Puts the next version in force, and keeps it in the history. */
export function writesOf(
  id: string,
  { current, versions }: DocumentSlot,
  { document, version }: { readonly document: StoredPolicy | null; readonly version: number },
  { at, by }: { readonly at: number; readonly by: string },
): Operation[] {
  const record: PolicyRecord = { document, version, at, by }
  const value = JSON.stringify(
    isManifestId(id) ? ({ ...record, createdAt: ageOf(current, at) } as ManifestRecord) : record,
  )
  const [key, versionKey] = isManifestId(id)
    ? [KEYS.manifest(id), (number: number) => KEYS.manifestVersion(id, number)]
    : [KEYS.policy(id), (number: number) => KEYS.version(id, number)]
  const operations: Operation[] = [
    { key, value },
    { key: versionKey(version), value },
  ]
  if (versions.length >= VERSIONS_KEPT) operations.push({ key: versionKey(versions[0]!.version), value: undefined })
  return operations
}

/** One that replaces another keeps the age of the first. */
function ageOf(current: PolicyRecord | null, at: number): number {
  return current?.document ? (current as ManifestRecord).createdAt : at
}

/** No other registry has changed a document since. */
export function noneSince(state: RegistryState): Compare[] {
  return [KEYS.versions, KEYS.manifestVersions].map((prefix) => ({ prefix, unchangedSince: state.revision }))
}
