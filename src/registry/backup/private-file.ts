/**
 * A file that appears whole or not at all: written beside its place with mode 0600, synced, then
 * given its name.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { BackupError, reasonOf } from './error.ts'

export interface PendingFile {
  readonly handle: FileHandle
  /** Syncs the file and gives it its name. */
  commit(): Promise<void>
  /** Removes what was written. Does nothing after `commit`. */
  discard(): Promise<void>
}

/** @throws BackupError `backup-exists` or `backup-failed` */
export async function createFile(path: string, replace: boolean): Promise<PendingFile> {
  await checkPlace(path, replace)
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  const handle = await open(temporary, 'wx+', 0o600).catch((error: unknown) => {
    throw new BackupError('backup-failed', `cannot write to ${dirname(path)}: ${reasonOf(error)}`, { cause: error })
  })
  let pending = true
  return {
    handle,
    async commit() {
      await handle.sync()
      await handle.close()
      if (replace) await rename(temporary, path)
      else await publish(temporary, path)
      pending = false
      await syncDirectory(dirname(path))
    },
    async discard() {
      if (!pending) return
      pending = false
      await handle.close().catch(() => {})
      await rm(temporary, { force: true })
    },
  }
}

/** A new name is on the disk when its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function checkPlace(path: string, replace: boolean): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new BackupError('backup-failed', `cannot write ${path}: ${reasonOf(error)}`, { cause: error })
  })
  if (found === undefined) return
  if (!found.isFile()) throw new BackupError('backup-failed', `${path} is no file; name a file that does not exist yet`)
  if (!replace) throw exists(path)
}

/** Never over a file that another process made meanwhile. */
async function publish(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') throw exists(path)
    // The file system has no hard links.
    await checkPlace(path, false)
    await rename(temporary, path)
    return
  }
  await rm(temporary, { force: true })
}

function exists(path: string): BackupError {
  return new BackupError('backup-exists', `${path} is there already; give another name, or --force to replace it`)
}
