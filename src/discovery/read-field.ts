/**
 * Values from outside, read field by field: the first mistake refuses the whole value, with its
 * path.
 */
import { type AnyField, formatPath, type Issue } from '../options/fields.ts'

/** A message that was refused, and why, for the event and the counter. */
export class SnapshotRejected extends Error {
  override readonly name = 'SnapshotRejected'
}

/** @throws SnapshotRejected if `value` is nothing but an object */
export function readObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SnapshotRejected(`${what} is no object`)
  }
  return value as Record<string, unknown>
}

/** @throws SnapshotRejected with the path of the first mistake */
export function readField<T>(field: AnyField<T>, value: unknown, name: string): T {
  const issues: Issue[] = []
  const parsed = field.parse(value, [name], issues)
  const issue = issues[0]
  if (issue !== undefined) throw new SnapshotRejected(`${formatPath(issue.path)}: ${issue.message}`)
  return parsed
}
