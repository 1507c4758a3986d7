/** Reads a backup whole: its head, its chunks, and each record by the registry's own readers. */
import { type FileHandle, open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { openChunks } from './chunks.ts'
import { type BackupContents, checkContents } from './contents.ts'
import { type BackupCode, BackupError, reasonOf } from './error.ts'
import { LONGEST_HEAD, type OpenedHead, openHead } from './head.ts'
import { BackupFold, splitLines } from './lines.ts'
import type { BackupSecret } from './secret.ts'

const USELESS: ReadonlySet<BackupCode> = new Set(['backup-damaged', 'backup-invalid', 'backup-incomplete'])

/** @throws BackupError naming the file, and what to do */
export async function readBackup(path: string, secret: BackupSecret): Promise<BackupContents> {
  const handle = await openFile(path)
  try {
    const head = await openHead(await readAt(handle, LONGEST_HEAD, 0), secret)
    return await readOpened(handle, head)
  } catch (error) {
    if (error instanceof BackupError) {
      const remedy = USELESS.has(error.code) ? '; use another backup' : ''
      throw new BackupError(error.code, `${path}: ${error.message}${remedy}`, { cause: error })
    }
    throw new BackupError('backup-unreadable', `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  } finally {
    await handle.close()
  }
}

/** What is behind a head that was opened. */
export async function readOpened(handle: FileHandle, head: OpenedHead): Promise<BackupContents> {
  let position = head.length
  const read = async (length: number): Promise<Buffer> => {
    const bytes = await readAt(handle, length, position)
    position += bytes.length
    return bytes
  }
  const fold = new BackupFold()
  const chunks = openChunks(read, { key: head.keys.chunks, bound: head.mac })
  await pipeline(Readable.from(chunks), createGunzip(), async (plain) => {
    for await (const line of splitLines(plain as AsyncIterable<Uint8Array>)) fold.add(line)
  })
  const { items, end } = fold.finish()
  return checkContents(head.origin, items, end)
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    const handle = await open(path, 'r')
    const found = await handle.stat()
    if (found.isFile()) return handle
    await handle.close()
    throw new Error(found.isDirectory() ? 'it is a directory' : 'it is no file')
  } catch (error) {
    throw new BackupError('backup-unreadable', `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

async function readAt(handle: FileHandle, length: number, position: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  let size = 0
  while (size < length) {
    const { bytesRead } = await handle.read(bytes, size, length - size, position + size)
    if (bytesRead === 0) break
    size += bytesRead
  }
  return bytes.subarray(0, size)
}
