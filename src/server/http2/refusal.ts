/**
 * The answer to a refused HTTP/2 peer: SETTINGS, then a GOAWAY for all its streams. gRPC clients
 * ignore a GOAWAY before their connection is established, so it waits for the peer.
 */
import { constants } from 'node:http2'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { RefusalAnswer } from '../lingering-close.ts'

const HEAD_BYTES = 9
/** PRI * HTTP/2.0 … (RFC 9113, 3.4). */
const PREFACE_BYTES = 24
export const TYPE = { headers: 1, settings: 4, goaway: 7 } as const
export const ACK = 1

export function refuseConnection(reason: string): RefusalAnswer {
  const frames = new FrameHeads()
  return {
    first: frame(TYPE.settings, Buffer.alloc(0)),
    // Every gRPC client takes this code for not executed, even if it ignores the last stream.
    last: goaway(reason, 0, constants.NGHTTP2_REFUSED_STREAM),
    mayFollow: (input) => frames.find(input, (type, flags) => isEstablished(type, flags)),
  }
}

/** The peer has acknowledged our SETTINGS, or has opened a stream without waiting for them. */
function isEstablished(type: number, flags: number): boolean {
  return type === TYPE.headers || (type === TYPE.settings && (flags & ACK) !== 0)
}

/** `lastStream`: the last that is served. */
export function goaway(reason: string, lastStream: number, code: number): Buffer {
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(lastStream)
  payload.writeUInt32BE(code, 4)
  return frame(TYPE.goaway, Buffer.concat([payload, Buffer.from(identityRefusal(reason), 'latin1')]))
}

export function frame(type: number, payload: Buffer, flags = 0, stream = 0): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Finds frame headers in a byte stream that arrives in pieces. */
export class FrameHeads {
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #filled = 0
  #skip = PREFACE_BYTES

  find(input: Uint8Array, matches: (type: number, flags: number, stream: number) => boolean): boolean {
    for (let at = 0; at < input.length; ) {
      const skipped = Math.min(this.#skip, input.length - at)
      this.#skip -= skipped
      at += skipped
      const taken = Math.min(HEAD_BYTES - this.#filled, input.length - at)
      this.#head.set(input.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
      if (this.#filled < HEAD_BYTES) continue
      this.#filled = 0
      this.#skip = this.#head.readUIntBE(0, 3)
      if (matches(this.#head[3]!, this.#head[4]!, this.#head.readUInt32BE(5))) return true
    }
    return false
  }
}
