/** What changes between two documents, one line per value: `~ retry.attempts: 3 -> 5`. */
import { formatPath, type Path } from '../options/fields.ts'

/** What applying did or would do to one service's document; as the registry answers. */
export interface PolicyChange {
  readonly service: string
  readonly change: 'created' | 'updated' | 'unchanged' | 'deleted'
  readonly before: unknown
  readonly after: unknown
}

export interface Difference {
  /** `+` only after, `-` only before, `~` both. */
  readonly sign: '+' | '-' | '~'
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

/** Lists of objects are compared entry by entry, in order; lists of texts as one value. */
export function differences(before: unknown, after: unknown): readonly Difference[] {
  const found: Difference[] = []
  compare(before ?? undefined, after ?? undefined, [], found)
  return found
}

function compare(before: unknown, after: unknown, path: Path, found: Difference[]): void {
  const [left, right] = [entriesOf(before), entriesOf(after)]
  if (left !== undefined && right !== undefined && Array.isArray(before) === Array.isArray(after)) {
    for (const key of new Set([...left.keys(), ...right.keys()])) {
      compare(left.get(key), right.get(key), [...path, key], found)
    }
    return
  }
  if (JSON.stringify(before) === JSON.stringify(after)) return
  const at = formatPath(path)
  if (before === undefined) {
    if (right === undefined) found.push({ sign: '+', path: at, after })
    else for (const [key, value] of right) compare(undefined, value, [...path, key], found)
    if (right?.size === 0) found.push({ sign: '+', path: at, after })
  } else if (after === undefined) {
    if (left === undefined) found.push({ sign: '-', path: at, before })
    else for (const [key, value] of left) compare(value, undefined, [...path, key], found)
    if (left?.size === 0) found.push({ sign: '-', path: at, before })
  } else found.push({ sign: '~', path: at, before, after })
}

function entriesOf(value: unknown): Map<string | number, unknown> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (!Array.isArray(value)) return new Map(Object.entries(value))
  const hasObjects = value.some((entry) => typeof entry === 'object' && entry !== null)
  return hasObjects ? new Map(value.entries()) : undefined
}

export function formatDifference({ sign, path, before, after }: Difference): string {
  if (sign === '~') return `${sign} ${path}: ${JSON.stringify(before)} -> ${JSON.stringify(after)}`
  return `${sign} ${path}: ${JSON.stringify(sign === '+' ? after : before)}`
}
