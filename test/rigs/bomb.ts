/** A small message that becomes a large one. */
import { createGzip } from 'node:zlib'

/** `bytes` zeros, compressed by gzip a thousandfold. */
export async function bomb(bytes: number): Promise<Buffer> {
  const gzip = createGzip()
  const parts: Buffer[] = []
  gzip.on('data', (part: Buffer) => parts.push(part))
  const ended = new Promise((resolve) => gzip.once('end', resolve))
  const block = Buffer.alloc(1_048_576)
  for (let left = bytes; left > 0; left -= block.length) {
    if (!gzip.write(block)) await new Promise((resolve) => gzip.once('drain', resolve))
  }
  gzip.end()
  await ended
  return Buffer.concat(parts)
}
