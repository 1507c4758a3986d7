/**
 * The body of a backup: chunks of 64 KiB under AES-256-GCM (the STREAM construction). The nonce
 * holds the chunk's number and whether it is the last, so chunks that are cut off, reordered or
 * repeated do not open.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { BackupError } from './error.ts'

const CIPHER = 'aes-256-gcm'
export const CHUNK = 65_536
export const TAG = 16

/** The keys of one backup, and what each chunk is bound to. */
export interface ChunkKey {
  readonly key: Buffer
  readonly bound: Buffer
}

export async function* sealChunks(source: AsyncIterable<Buffer>, chunkKey: ChunkKey): AsyncGenerator<Buffer> {
  let number = 0
  let waiting: Buffer[] = []
  let size = 0
  for await (const part of source) {
    waiting.push(part)
    size += part.length
    if (size <= CHUNK) continue
    let rest = Buffer.concat(waiting)
    // The last one is held back until it is known to be the last.
    for (; rest.length > CHUNK; rest = rest.subarray(CHUNK))
      yield seal(rest.subarray(0, CHUNK), number++, false, chunkKey)
    waiting = [rest]
    size = rest.length
  }
  yield seal(Buffer.concat(waiting), number, true, chunkKey)
}

/**
 * @param read - the next bytes of the file, at most as many as asked for; none at its end
 * @throws BackupError `backup-damaged`
 */
export async function* openChunks(
  read: (length: number) => Promise<Buffer>,
  chunkKey: ChunkKey,
): AsyncGenerator<Buffer> {
  let current = await read(CHUNK + TAG)
  for (let number = 0; ; number++) {
    const next = current.length < CHUNK + TAG ? Buffer.alloc(0) : await read(CHUNK + TAG)
    const last = next.length === 0
    yield open(current, number, last, chunkKey)
    if (last) return
    current = next
  }
}

function nonce(number: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUIntBE(number, 5, 6)
  bytes[11] = last ? 1 : 0
  return bytes
}

function seal(plain: Buffer, number: number, last: boolean, { key, bound }: ChunkKey): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce(number, last)).setAAD(bound)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function open(sealed: Buffer, number: number, last: boolean, chunkKey: ChunkKey): Buffer {
  const plain = decipher(sealed, number, last, chunkKey)
  if (plain !== undefined) return plain
  const otherwise = decipher(sealed, number, !last, chunkKey) !== undefined
  const what =
    sealed.length < TAG || (otherwise && last)
      ? 'it was cut off'
      : otherwise
        ? 'it has bytes behind its end'
        : `it was cut off or changed in its part ${number + 1}`
  throw new BackupError('backup-damaged', what)
}

function decipher(sealed: Buffer, number: number, last: boolean, { key, bound }: ChunkKey): Buffer | undefined {
  if (sealed.length < TAG) return undefined
  const end = sealed.length - TAG
  const cipher = createDecipheriv(CIPHER, key, nonce(number, last), { authTagLength: TAG })
  try {
    cipher.setAAD(bound).setAuthTag(sealed.subarray(end))
    return Buffer.concat([cipher.update(sealed.subarray(0, end)), cipher.final()])
  } catch {
    return undefined
  }
}
