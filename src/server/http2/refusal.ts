/**
 * The answers to a refused HTTP/2 peer: SETTINGS, then a GOAWAY for all its streams, or an answer
 * to each. Frames are counted, and no byte of a request is parsed.
 */
import { constants } from 'node:http2'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import { isForeign, type Stranger } from '../stranger.ts'

/** How every client begins (RFC 9113, 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEAD_BYTES = 9
const TYPE = { data: 0, headers: 1, settings: 4, goaway: 7 } as const
const END_STREAM = 1
const END_HEADERS = 4
const ACK = 1
/** What clients open before they have our SETTINGS. */
const MOST_ANSWERED = 100
const NOTHING = Buffer.alloc(0)

/**
 * A GOAWAY for all streams. gRPC clients ignore one before their connection is established, so it
 * waits for the peer.
 */
export function refuseConnection(stranger: Stranger): RefusalAnswer {
  const frames = new FrameHeads()
  return {
    first: frame(TYPE.settings, NOTHING),
    // Every gRPC client takes this code for not executed, even if it ignores the last stream.
    last: goaway(stranger, 0, constants.NGHTTP2_REFUSED_STREAM),
    mayFollow: (input) => frames.find(input, (type, flags) => isEstablished(type, flags)),
  }
}

/** `head` and `body` for each request of the first flight, then a GOAWAY. */
export function refuseStreams(stranger: Stranger, head: Buffer, body = NOTHING): RefusalAnswer {
  const frames = new FrameHeads()
  const streams = new Set<number>()
  let lastStream = 0
  const answer = (stream: number): Buffer => {
    if (body.length === 0) return frame(TYPE.headers, head, END_STREAM | END_HEADERS, stream)
    const headers = frame(TYPE.headers, head, END_HEADERS, stream)
    return Buffer.concat([headers, frame(TYPE.data, body, END_STREAM, stream)])
  }
  return {
    first: frame(TYPE.settings, NOTHING),
    mayFollow: (input) => {
      frames.find(input, (type, _flags, stream) => {
        if (type !== TYPE.headers || streams.size >= MOST_ANSWERED) return false
        streams.add(stream)
        lastStream = Math.max(lastStream, stream)
        return false
      })
      return streams.size > 0
    },
    last: () => {
      const code = lastStream === 0 ? constants.NGHTTP2_REFUSED_STREAM : constants.NGHTTP2_NO_ERROR
      const answers = [...streams].map(answer)
      return Buffer.concat([frame(TYPE.settings, NOTHING, ACK), ...answers, goaway(stranger, lastStream, code)])
    },
  }
}

/** A header block of literals without indexing (RFC 7541, 6.2.2), so that no state is shared. */
export function headerBlock(lines: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(lines.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]))
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const length: number[] = []
  if (bytes.length < 127) length.push(bytes.length)
  else {
    // An integer with a prefix of 7 bits (RFC 7541, 5.1).
    length.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

/** The peer has acknowledged our SETTINGS, or has opened a stream without waiting for them. */
function isEstablished(type: number, flags: number): boolean {
  return type === TYPE.headers || (type === TYPE.settings && (flags & ACK) !== 0)
}

/** `lastStream`: the last that is served. */
function goaway(stranger: Stranger, lastStream: number, code: number): Buffer {
  const text = identityRefusal(stranger.reason, isForeign(stranger) ? stranger.notice : undefined)
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(lastStream)
  payload.writeUInt32BE(code, 4)
  return frame(TYPE.goaway, Buffer.concat([payload, Buffer.from(text, 'latin1')]))
}

function frame(type: number, payload: Buffer, flags = 0, stream = 0): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Finds frame headers in a byte stream that arrives in pieces. */
class FrameHeads {
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #filled = 0
  #skip = PREFACE.length

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
