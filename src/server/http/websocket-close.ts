/**
 * Asks a WebSocket whose frames the application writes to close, because the server goes away (RFC
 * 6455, 7.4.1): after its 101 and between two frames, since a frame may be written in pieces, as a
 * proxy does.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** Final, close, two bytes of payload: 1001, going away. From a server, so without a mask. */
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])
const SWITCHED = Buffer.from('HTTP/1.1 101 ')
const HEAD_END = 0x0d0a0d0a
const CLOSE = 0x8
const LONGEST_FRAME_HEAD = 14

export function isWebSocket({ headers }: IncomingMessage): boolean {
  const protocols = headers.upgrade?.toLowerCase().split(',') ?? []
  return protocols.some((protocol) => protocol.trim() === 'websocket')
}

/**
 * Follows what is written on the socket of a WebSocket, states: `head` → `frames`, or `other` when
 * there is nothing to ask.
 */
export class WebSocketClose {
  readonly #socket: Socket
  readonly #write: Socket['write']
  #state: 'head' | 'frames' | 'other' = 'head'
  /** The last four bytes of the head so far. */
  #last = 0
  #headBytes = 0
  readonly #frameHead = Buffer.alloc(LONGEST_FRAME_HEAD)
  #frameHeadBytes = 0
  /** Of the payload that has not been written yet. */
  #payloadLeft = 0
  #wanted = false

  /** `socket` as the application gets it, before it has written anything. */
  constructor(socket: Socket) {
    this.#socket = socket
    const { write } = socket
    this.#write = write
    const follow = (chunk: unknown, encoding: unknown): void => this.#follow(chunk, encoding)
    socket.write = function (this: Socket, ...given: Parameters<Socket['write']>): boolean {
      const taken = write.apply(this, given)
      follow(given[0], given[1])
      return taken
    } as Socket['write']
  }

  /** Now, or when the frame that is being written is complete. */
  ask(): void {
    this.#wanted = true
    this.#askIfDue()
  }

  #askIfDue(): void {
    const between = this.#state === 'frames' && this.#frameHeadBytes === 0 && this.#payloadLeft === 0
    if (!this.#wanted || !between || !this.#socket.writable) return
    this.#state = 'other'
    this.#write.call(this.#socket, GOING_AWAY)
  }

  #follow(chunk: unknown, encoding: unknown): void {
    if (this.#state === 'other') return
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : (chunk as Uint8Array)
    let at = 0
    if (this.#state === 'head') at = this.#followHead(bytes)
    while (this.#state === 'frames' && at < bytes.length) at = this.#followFrame(bytes, at)
    this.#askIfDue()
  }

  /** Returns where the frames begin. */
  #followHead(bytes: Uint8Array): number {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (this.#headBytes < SWITCHED.length && byte !== SWITCHED[this.#headBytes]) {
        this.#state = 'other'
        return at
      }
      this.#headBytes += 1
      this.#last = ((this.#last << 8) | byte) >>> 0
      if (this.#last === HEAD_END) {
        this.#state = 'frames'
        return at + 1
      }
    }
    return bytes.length
  }

  /** Returns where the frame, or what has been written of it, ends. */
  #followFrame(bytes: Uint8Array, from: number): number {
    let at = from
    if (this.#payloadLeft === 0) {
      const head = this.#frameHead
      while (at < bytes.length && (this.#frameHeadBytes < 2 || this.#frameHeadBytes < frameHeadLength(head))) {
        head[this.#frameHeadBytes++] = bytes[at++]!
      }
      if (this.#frameHeadBytes < 2 || this.#frameHeadBytes < frameHeadLength(head)) return at
      this.#frameHeadBytes = 0
      this.#payloadLeft = payloadLength(head)
      // The application closes it by itself.
      if ((head[0]! & 0x0f) === CLOSE) this.#state = 'other'
    }
    const part = Math.min(this.#payloadLeft, bytes.length - at)
    this.#payloadLeft -= part
    return at + part
  }
}

function encodingOf(given: unknown): BufferEncoding {
  return typeof given === 'string' ? (given as BufferEncoding) : 'utf8'
}

/** RFC 6455, 5.2. */
function frameHeadLength(head: Buffer): number {
  const length = head[1]! & 0x7f
  const mask = head[1]! >= 0x80 ? 4 : 0
  return 2 + mask + (length === 127 ? 8 : length === 126 ? 2 : 0)
}

function payloadLength(head: Buffer): number {
  const length = head[1]! & 0x7f
  if (length === 127) return Number(head.readBigUInt64BE(2))
  return length === 126 ? head.readUInt16BE(2) : length
}
