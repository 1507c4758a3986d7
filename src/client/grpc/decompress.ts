/** Decompresses a message as `grpc-encoding` of its answer says. */
import { createGunzip, createInflate } from 'node:zlib'
import { GRPC_STATUS } from '../../core/status.ts'

/** The status of a call whose message cannot be read, in grpc-js's words. */
export interface Unreadable {
  readonly code: number
  readonly details: string
}

/** `most`: the largest message in bytes. Calls back once, later. */
export function decompress(
  message: Buffer,
  encoding: string,
  most: number,
  done: (problem: Unreadable | undefined, message: Buffer) => void,
): void {
  if (encoding !== 'gzip' && encoding !== 'deflate') {
    process.nextTick(done, unreadableBy(encoding), message)
    return
  }
  const stream = encoding === 'gzip' ? createGunzip() : createInflate()
  const parts: Buffer[] = []
  let bytes = 0
  let over = false
  const end = (problem: Unreadable | undefined): void => {
    if (over) return
    over = true
    stream.destroy()
    done(problem, problem === undefined ? Buffer.concat(parts, bytes) : message)
  }
  stream.on('data', (part: Buffer) => {
    parts.push(part)
    bytes += part.length
    if (bytes <= most) return
    const details = `Received message that decompresses to a size larger than ${most}`
    end({ code: GRPC_STATUS.RESOURCE_EXHAUSTED, details })
  })
  stream.on('error', () =>
    end({ code: GRPC_STATUS.INTERNAL, details: `Failed to decompress ${encoding}-encoded message` }),
  )
  stream.on('end', () => end(undefined))
  stream.end(message)
}

function unreadableBy(encoding: string): Unreadable {
  const details =
    encoding === 'identity'
      ? 'Received compressed message but "grpc-encoding" header was identity'
      : `Received message compressed with unsupported compression method ${encoding}`
  return { code: GRPC_STATUS.INTERNAL, details }
}
