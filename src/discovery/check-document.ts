/** Checks a document before it is applied, and after it has arrived. */
import { type Issue, show } from '../options/fields.ts'
import { compareFields } from './compare-fields.ts'
import { tooLarge } from './document-size.ts'
import { POLICY_DOCUMENT, type PolicyDocument } from './policy-document.ts'

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
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: [], message: `expected a document with the key 'service', got ${show(value)}` }]
  }
  const size = tooLarge(value)
  if (size !== undefined) return [size]
  const issues: Issue[] = []
  POLICY_DOCUMENT.parse(value, [], issues)
  // Only a document right in itself has values worth comparing.
  if (issues.length === 0) compareFields(value as PolicyDocument, issues)
  return issues.slice(0, MOST_ISSUES)
}
