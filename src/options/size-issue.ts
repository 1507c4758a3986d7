/** Bounds the size of a value from outside before it is looked at. */
import type { Issue, Path } from './fields.ts'

export interface LargestValue {
  /** Levels of objects and lists. */
  readonly deepest: number
  /** All values together. */
  readonly mostValues: number
  /** Characters of a key. */
  readonly longestKey: number
  /** Characters of a text. */
  readonly longestText: number
}

/** The first part that is too large. Also ends values that contain themselves. */
export function sizeIssue(value: unknown, largest: LargestValue): Issue | undefined {
  return look(value, [], largest, { left: largest.mostValues })
}

function look(value: unknown, path: Path, largest: LargestValue, count: { left: number }): Issue | undefined {
  const { deepest, mostValues, longestKey, longestText } = largest
  if (typeof value === 'string' && value.length > longestText) {
    return { path, message: `is text of ${value.length} characters; at most ${longestText} are allowed` }
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (path.length >= deepest) return { path, message: `is nested deeper than ${deepest} levels` }
  const inArray = Array.isArray(value)
  for (const key of Object.keys(value)) {
    if (key.length > longestKey) return { path, message: `has a key of ${key.length} characters` }
    count.left -= 1
    if (count.left < 0) return { path: [], message: `holds more than ${mostValues} values` }
    const inner = look((value as Record<string, unknown>)[key], [...path, inArray ? Number(key) : key], largest, count)
    if (inner !== undefined) return inner
  }
  return undefined
}
