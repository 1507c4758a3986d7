/** Bounds what a document may hold before any of it is read. */
import type { Issue } from '../options/fields.ts'

/** Far above any sensible document; what is larger is not even looked at. */
const DEEPEST = 8
const MOST_VALUES = 20_000
const LONGEST_KEY = 128
const LONGEST_TEXT = 2_048
/** `undefined` if `value` is no larger than a document may be. Ends for any value. */
export function tooLarge(value: unknown): Issue | undefined {
  return sizeIssue(value, [], { left: MOST_VALUES })
}

/** Also ends values that contain themselves. */
function sizeIssue(value: unknown, path: readonly (string | number)[], count: { left: number }): Issue | undefined {
  if (typeof value === 'string' && value.length > LONGEST_TEXT) {
    return { path, message: `is text of ${value.length} characters; at most ${LONGEST_TEXT} are allowed` }
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (path.length >= DEEPEST) return { path, message: `is nested deeper than ${DEEPEST} levels` }
  const inArray = Array.isArray(value)
  for (const key of Object.keys(value)) {
    if (key.length > LONGEST_KEY) return { path, message: `has a key of ${key.length} characters` }
    count.left -= 1
    if (count.left < 0) return { path: [], message: `holds more than ${MOST_VALUES} values` }
    const inner = sizeIssue((value as Record<string, unknown>)[key], [...path, inArray ? Number(key) : key], count)
    if (inner !== undefined) return inner
  }
  return undefined
}
