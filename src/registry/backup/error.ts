/** Why a backup is not written, read or restored. */

/**
 * `backup-key-missing`, `backup-key-invalid`: the passphrase or key file cannot be used.
 * `backup-wrong-key`: it is not that of this backup. `backup-unreadable`: the file is not there, or
 * is no backup. `backup-version`: a newer inmesh wrote it. `backup-damaged`: it was cut off or
 * changed. `backup-invalid`: its records are no state of a registry. `backup-exists`: the file is
 * there already. `backup-incomplete`: the registry's answer broke off. `backup-failed`: it cannot
 * be written. `store-occupied`, `store-in-use`, `store-foreign`: it must not be restored there.
 * `restore-failed`: the store cannot be written.
 */
export type BackupCode =
  | 'backup-key-missing'
  | 'backup-key-invalid'
  | 'backup-wrong-key'
  | 'backup-unreadable'
  | 'backup-version'
  | 'backup-damaged'
  | 'backup-invalid'
  | 'backup-exists'
  | 'backup-incomplete'
  | 'backup-failed'
  | 'store-occupied'
  | 'store-in-use'
  | 'store-foreign'
  | 'restore-failed'

/** The message says what to do. */
export class BackupError extends Error {
  override readonly name = 'BackupError'
  readonly code: BackupCode

  constructor(code: BackupCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The reason that a system call gives, without its name and path. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return (code && REASONS[code]) ?? message ?? String(error)
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: "the user's quota of the disk is used up",
  EFBIG: 'it grew beyond the largest size of a file (ulimit -f)',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is no directory',
  ELOOP: 'too many links',
}
