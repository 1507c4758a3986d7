/**
 * The answer to a refused HTTP/2 peer: SETTINGS, then a GOAWAY that leaves all its streams behind.
 * The GOAWAY waits until the peer has read the SETTINGS, since clients of gRPC forget a GOAWAY that
 * comes before their connection stands.
 */
import { constants } from 'node:http2'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { RefusalAnswer } from '../lingering-close.ts'

const HEAD_BYTES = 9
/** PRI * HTTP/2.0 … (RFC 9113, 3.4). */
const PREFACE_BYTES = 24
const TYPE = { headers: 1, settings: 4, goaway: 7 } as const
const ACK = 1

export function refuseConnection(reason: string): RefusalAnswer {
  const frames = new FrameHeads()
  return {
    first: frame(TYPE.settings, Buffer.alloc(0)),
    last: goaway(reason),
    mayFollow: (input) => frames.find(input, (type, flags) => isQuestion(type, flags)),
  }
}

/** The peer acknowledges our SETTINGS, or opens a stream without having waited for them. */
function isQuestion(type: number, flags: number): boolean {
  return type === TYPE.headers || (type === TYPE.settings && (flags & ACK) !== 0)
}

function goaway(reason: string): Buffer {
  const payload = Buffer.alloc(8)
  // The first four bytes are the last stream that is served: none. Every client of gRPC reads this
  // code as not executed, also where it does not look at the last stream.
  payload.writeUInt32BE(constants.NGHTTP2_REFUSED_STREAM, 4)
  return frame(TYPE.goaway, Buffer.concat([payload, Buffer.from(identityRefusal(reason), 'latin1')]))
}

function frame(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  return Buffer.concat([head, payload])
}

/** The heads of frames in a stream of bytes that comes in pieces. */
class FrameHeads {
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #filled = 0
  #skip = PREFACE_BYTES

  find(input: Uint8Array, isIt: (type: number, flags: number) => boolean): boolean {
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
      if (isIt(this.#head[3]!, this.#head[4]!)) return true
    }
    return false
  }
}
