/** How a file of policy documents fails. */
import { EXIT, Failure, type LocatedIssue } from './failure.ts'

/** Far above any sensible file of policies; the registry accepts as many in one transaction. */
export const LARGEST_FILE_BYTES = 1024 * 1024

export function tooLarge(file: string): Failure {
  return new Failure(EXIT.invalid, 'file-too-large', `${file} is larger than ${LARGEST_FILE_BYTES / 1024} KiB`)
}

/** Names every mistake, in the order of lines. */
export function mistakesIn(file: string, issues: readonly LocatedIssue[]): Failure {
  const count = issues.length === 1 ? 'a mistake' : `${issues.length} mistakes`
  const sorted = [...issues].sort((a, b) => a.line - b.line || a.column - b.column)
  return new Failure(EXIT.invalid, 'invalid-policy', `${file} has ${count}`, sorted)
}
