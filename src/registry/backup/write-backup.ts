/**
 * Writes a backup, encrypted, and reads it back before it gets its name: a backup that exists can
 * be restored.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { sealChunks } from './chunks.ts'
import type { BackupContents } from './contents.ts'
import { BackupError, reasonOf } from './error.ts'
import { type BackupOrigin, createHead } from './head.ts'
import { createFile } from './private-file.ts'
import { readOpened } from './read-backup.ts'
import type { BackupSecret } from './secret.ts'

/** The state of a registry, as lines of one revision. */
export interface BackupSource {
  readonly origin: BackupOrigin
  /** Whole lines, any number of them in each part. */
  readonly lines: AsyncIterable<string | Uint8Array>
}

export interface WriteOptions {
  readonly path: string
  readonly secret: BackupSecret
  /** Replace a file that is there. */
  readonly replace: boolean
}

/** @throws BackupError; nothing is left of the file then */
export async function writeBackup(source: BackupSource, options: WriteOptions): Promise<BackupContents> {
  const { path, secret, replace } = options
  const file = await createFile(path, replace)
  const { handle } = file
  try {
    const { bytes, keys, mac } = await createHead(source.origin, secret)
    await handle.write(bytes)
    const chunkKey = { key: keys.chunks, bound: mac }
    await pipeline(Readable.from(source.lines, { objectMode: true }), createGzip(), async (compressed) => {
      for await (const chunk of sealChunks(compressed as AsyncIterable<Buffer>, chunkKey)) await handle.writeFile(chunk)
    })
    const contents = await readOpened(handle, { origin: source.origin, keys, mac, length: bytes.length })
    await file.commit()
    return contents
  } catch (error) {
    await file.discard()
    throw failureOf(error, path)
  }
}

function failureOf(error: unknown, path: string): unknown {
  const { code, message } = error as Error & { code?: string }
  if (code === 'backup-invalid') {
    return new BackupError(code, `no backup was written, because the state is damaged: ${message}`, { cause: error })
  }
  if (code === 'backup-incomplete') {
    return new BackupError(code, "no backup was written, because the registry's answer ended too early; try again")
  }
  if ((error as NodeJS.ErrnoException).syscall === undefined) return error
  return new BackupError('backup-failed', `cannot write ${path}: ${reasonOf(error)}`, { cause: error })
}
