/** Checks the documents and manifests of a file, each alone and then together. */
import { checkPolicyDocument } from '../discovery/check-document.ts'
import type { PolicyDocument } from '../discovery/policy-document.ts'
import { checkManifest } from '../gateway-api/check-manifest.ts'
import { isManifest, keyOf, type Manifest, showKey } from '../gateway-api/manifest.ts'
import type { Issue } from '../options/fields.ts'
import { crossIssues } from '../routing/across-documents.ts'
import type { LocatedIssue } from './failure.ts'

/** What a file may hold: a service's document, or a Gateway API manifest. */
export type FileDocument = PolicyDocument | Manifest

export function isOfGateway(document: FileDocument): document is Manifest {
  return isManifest(document)
}

/** `inventory`, or `HTTPRoute shop/items`. */
export function nameOfDocument(document: FileDocument): string {
  return isOfGateway(document) ? showKey(keyOf(document)) : document.service
}

type Locate = (document: number, issue: Issue) => LocatedIssue

/** Every mistake. Only documents that are right alone are compared with each other. */
export function checkDocuments(values: readonly unknown[], locate: Locate): readonly LocatedIssue[] {
  const issues: LocatedIssue[] = []
  const named = new Map<string, number>()
  const services = new Map<string, PolicyDocument>()
  for (const [i, value] of values.entries()) {
    const mistakes = isManifest(value) ? checkManifest(value) : checkPolicyDocument(value)
    for (const issue of mistakes) issues.push(locate(i, issue))
    if (mistakes.length > 0) continue
    const document = value as FileDocument
    const name = nameOfDocument(document)
    const path = isOfGateway(document) ? ['metadata', 'name'] : ['service']
    const first = named.get(name)
    if (first !== undefined) {
      const { line } = locate(first, { path, message: '' })
      const what = isOfGateway(document) ? name : `'${name}'`
      issues.push(locate(i, { path, message: `${what} has a document in line ${line} already` }))
      continue
    }
    named.set(name, i)
    if (!isOfGateway(document)) services.set(name, document)
  }
  if (issues.length > 0) return issues
  // What the registry has is not known here, and is judged there.
  const found = crossIssues({ changed: services.keys(), of: (service) => services.get(service), others: [] })
  return found.map(({ service, path, message }) => locate(named.get(service)!, { path, message }))
}
