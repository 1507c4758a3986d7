/** Bounds what a document may hold before any of it is read. */
import type { Issue } from '../options/fields.ts'
import { sizeIssue } from '../options/size-issue.ts'

/** Far above any sensible document; what is larger is not even looked at. */
const LARGEST = { deepest: 8, mostValues: 60_000, longestKey: 128, longestText: 2_048 }

/** `undefined` if `value` is no larger than a document may be. Ends for any value. */
export function tooLarge(value: unknown): Issue | undefined {
  return sizeIssue(value, LARGEST)
}
