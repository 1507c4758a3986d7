/** Reads what is to be applied: policy documents and manifests, every mistake with its path. */

import { checkPolicyDocument } from '../discovery/check-document.ts'
import { LIMITS } from '../discovery/limits.ts'
import { checkManifest } from '../gateway-api/check-manifest.ts'
import { isManifest, keyOf, type Manifest, showKey } from '../gateway-api/manifest.ts'
import { type Issue, show } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { invalid } from './api/error.ts'
import { manifestId } from './manifests/manifest-records.ts'
import type { StoredPolicy } from './policy-change.ts'

/** So that one apply stays one transaction. */
export const MOST_DOCUMENTS = 300

/**
 * By service, or by the id of a manifest, in the order given.
 *
 * @throws ApiError `invalid-policy`; each path begins with the document's index
 */
export function readDocuments(documents: readonly unknown[]): Map<string, StoredPolicy> {
  const issues: Issue[] = []
  const checked = new Map<string, StoredPolicy>()
  if (!Array.isArray(documents)) {
    const message = `expected a list of documents, got ${show(documents)}; text has to be parsed first`
    throw invalid('policies', [{ path: [], message }])
  }
  if (documents.length === 0 || documents.length > MOST_DOCUMENTS) {
    throw invalid('policies', [
      { path: [], message: `expected 1 to ${MOST_DOCUMENTS} documents, got ${documents.length}` },
    ])
  }
  for (const [i, document] of documents.entries()) {
    const found = isManifest(document) ? checkManifest(document) : checkPolicyDocument(document)
    issues.push(...found.map((issue) => ({ ...issue, path: [i, ...issue.path] })))
    if (found.length > 0) continue
    if (Buffer.byteLength(JSON.stringify(document)) > LIMITS.documentBytes) {
      issues.push({ path: [i], message: `longer than ${LIMITS.documentBytes} bytes` })
    }
    const { id, path, name } = isManifest(document) ? ofManifest(document) : ofService(document, i, issues)
    if (checked.has(id)) issues.push({ path: [i, ...path], message: `${name} has two documents` })
    checked.set(id, document as StoredPolicy)
  }
  if (issues.length > 0) throw invalid('policies', issues, 'invalid-policy')
  return checked
}

interface Identity {
  readonly id: string
  /** Of the name. */
  readonly path: readonly string[]
  readonly name: string
}

function ofManifest(document: object): Identity {
  const key = keyOf(document as Manifest)
  return { id: manifestId(key), path: ['metadata', 'name'], name: showKey(key) }
}

function ofService(document: unknown, i: number, issues: Issue[]): Identity {
  const { service } = document as { service: string }
  if (!SERVICE_NAME.test(service)) issues.push({ path: [i, 'service'], message: 'expected a service name' })
  return { id: service, path: ['service'], name: `'${service}'` }
}
