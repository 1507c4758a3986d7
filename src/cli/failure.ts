/**
 * The failure of a command: an exit code for scripts, a stable code, a message, and a list of
 * issues.
 */
import { isMeshError, reasonOf } from '../core/errors.ts'
import { OptionsError } from '../options/fields.ts'
import { type BackupCode, BackupError } from '../registry/backup/error.ts'

/** Exit codes, documented in docs/cli.md. Scripts rely on them. */
export const EXIT = Object.freeze({
  ok: 0,
  /** The registry refused, or something failed. */
  failed: 1,
  /** Wrong flags, or a mistake in a file. Nothing was sent. */
  invalid: 2,
  /** No answer from the registry. */
  unreachable: 3,
  /** `call`: the service answered with an error status. */
  errorStatus: 4,
  /** `call`: the call failed, so there is no answer. */
  callFailed: 5,
})

/** One mistake in a file, with everything that finds it. */
export interface LocatedIssue {
  readonly file: string
  readonly line: number
  readonly column: number
  /** `retry.attempts`; empty for the document itself. */
  readonly path: string
  readonly message: string
}

export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exitCode: number
  readonly code: string
  readonly issues: readonly LocatedIssue[]

  constructor(exitCode: number, code: string, message: string, issues: readonly LocatedIssue[] = []) {
    super(message)
    this.exitCode = exitCode
    this.code = code
    this.issues = issues
  }
}

/** Flags that are wrong, or exclude each other. */
export function invalidUsage(message: string): Failure {
  return new Failure(EXIT.invalid, 'invalid-usage', message)
}

/** `policies.yaml:7:3 retry.atempts: unknown key; did you mean 'attempts'?` */
export function formatLocated(issue: LocatedIssue): string {
  const path = issue.path === '' ? '' : `${issue.path}: `
  return `${issue.file}:${issue.line}:${issue.column} ${path}${issue.message}`
}

/** Not the fault of a flag or a file. */
const FAILED: ReadonlySet<BackupCode> = new Set(['backup-failed', 'backup-incomplete', 'restore-failed'])

/** Converts a thrown value to a failure. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  if (error instanceof OptionsError) return new Failure(EXIT.invalid, error.code, error.message)
  if (error instanceof BackupError) {
    return new Failure(FAILED.has(error.code) ? EXIT.failed : EXIT.invalid, error.code, error.message)
  }
  if (isMeshError(error)) {
    const exitCode = error.code === 'registry-unavailable' ? EXIT.unreachable : EXIT.failed
    return new Failure(exitCode, error.code, error.message)
  }
  return new Failure(EXIT.failed, 'failed', reasonOf(error))
}
