/**
 * Judges documents against the others in force, and against the instances that run now.
 */
import { describeIssue, type Issue } from '../options/fields.ts'
import { crossIssues } from '../routing/across-documents.ts'
import { instanceWarnings, type Warning } from '../routing/instance-warnings.ts'
import { ApiError } from './api/error.ts'
import { manifestWarnings } from './manifests/manifest-checks.ts'
import { isManifestId } from './manifests/manifest-records.ts'
import type { StoredPolicy } from './policy-change.ts'
import type { RegistryState } from './state.ts'

/** In the text of an error; its list has all. */
const MOST_SHOWN = 10
/** More warnings than this help no reader. */
const MOST_WARNINGS = 50

type Documents = ReadonlyMap<string, StoredPolicy | null>

/**
 * @throws ApiError `invalid-policy`, each path beginning with the document's index in `documents`;
 * `conflict` if a deletion takes away what another document names
 */
export function refuseAcross(state: RegistryState, documents: Documents): void {
  const services = [...documents.keys()].filter((id) => !isManifestId(id))
  const found = crossIssues({
    changed: services,
    of: (service) => documents.get(service) ?? (documents.has(service) ? null : documentInForce(state, service)),
    others: state.services.keys(),
  })
  if (found.length === 0) return
  const indexes = new Map([...documents.keys()].map((service, i) => [service, i]))
  const gone = found.find(({ service }) => documents.get(service) === null)
  if (gone !== undefined) throw new ApiError('conflict', `'${gone.service}' cannot be deleted: ${gone.message}`)
  const issues = found.map(({ service, path, message }): Issue => ({ path: [indexes.get(service)!, ...path], message }))
  const texts = found.map(({ service, ...issue }) => `${service}: ${describeIssue(issue)}`)
  throw new ApiError('invalid-policy', texts.slice(0, MOST_SHOWN).join('; '), issues)
}

/** Of the documents that a change leaves in force. Each path begins with the document's index. */
export function warningsOf(state: RegistryState, documents: Documents): readonly Warning[] {
  const inventory = {
    document: (service: string) =>
      documents.get(service) ?? (documents.has(service) ? undefined : (documentInForce(state, service) ?? undefined)),
    instances: (service: string) => {
      const entry = state.service(service)
      return entry?.known !== true ? undefined : [...entry.instances.values()].map(({ instance }) => instance)
    },
  }
  return [...documents]
    .flatMap(([id, document], i) => {
      if (document === null) return []
      const found = isManifestId(id)
        ? manifestWarnings(state, document, inventory.document)
        : instanceWarnings(document, inventory)
      return found.map((warning) => ({ service: id, ...warning, path: [i, ...warning.path] }))
    })
    .slice(0, MOST_WARNINGS)
}

function documentInForce(state: RegistryState, service: string): StoredPolicy | null {
  return state.service(service)?.policy?.document ?? null
}
