/** Checks a document before it is applied, and after it has arrived. */
import { type Issue, show } from '../options/fields.ts'
import { checkRouteNames } from '../routing/check-route-names.ts'
import { checkRoutes } from '../routing/check-routes.ts'
import { compareFields } from './compare-fields.ts'
import { tooLarge } from './document-size.ts'
import { MESH_DOCUMENT, POLICY_DOCUMENT, type PolicyDocument } from './policy-document.ts'

/** More mistakes than this help no reader. */
const MOST_ISSUES = 50

/**
 * Every mistake of a document; empty if there is none. Never throws, whatever `value` is.
 *
 * @example
 * ```ts
 * checkPolicyDocument({ service: 'inventory', retry: { atempts: 3 } })
 * // [{ path: ['retry', 'atempts'], message: "unknown key; did you mean 'attempts'?" }]
 * ```
 */
export function checkPolicyDocument(value: unknown): readonly Issue[] {
  return check(value, 'author')
}

/**
 * The mistakes of a document with the routes of manifests, whose names no author may write.
 */
export function checkMergedDocument(value: unknown): readonly Issue[] {
  return check(value, 'merged')
}

/**
 * The mistakes of a document that has arrived: without those of {@link checkRoutes}, which concern
 * its author. A call to a subset that is not defined fails, and is never sent elsewhere.
 */
export function checkReceivedDocument(value: unknown): readonly Issue[] {
  return check(value, 'received')
}

function check(value: unknown, from: 'author' | 'merged' | 'received'): readonly Issue[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: [], message: `expected a document with the key 'service', got ${show(value)}` }]
  }
  const size = tooLarge(value)
  if (size !== undefined) return [size]
  const issues: Issue[] = []
  const given = POLICY_DOCUMENT.parse(value, [], issues)
  // Only a document right in itself has values worth comparing.
  if (issues.length === 0) {
    const document = value as PolicyDocument
    compareFields(document, issues)
    if (from === 'author') checkRouteNames(given.routes ?? [], issues)
    if (from !== 'received') {
      checkRoutes(given, document.service === MESH_DOCUMENT ? undefined : document.service, issues)
    }
  }
  return issues.slice(0, MOST_ISSUES)
}
