/**
 * Closes a WebSocket with 1001, going away (RFC 6455, 7.4.1), when the server drains. The
 * application may write a frame in pieces, so the close frame waits for the end of the current one.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** A final close frame with status 1001. Servers send no mask. */
const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])
const SWITCHED = Buffer.from('HTTP/1.1 101 ')
const HEAD_END = 0x0d0a0d0a
const CLOSE = 0x8
const MAX_FRAME_HEAD = 14

export function isWebSocket({ headers }: IncomingMessage): boolean {
  const protocols = headers.upgrade?.toLowerCase().split(',') ?? []
  return protocols.some((protocol) => protocol.trim() === 'websocket')
}

/**
 * Follows the bytes that the application writes.
 *
 * - `head` → `frames`: the head of a 101 is complete
 * - `head` → `other`: the answer is not a 101
 * - `frames` → `other`: a close frame was sent, by the application or by us
 */
export class WebSocketClose {
  readonly #socket: Socket
  readonly #write: Socket['write']
  #state: 'head' | 'frames' | 'other' = 'head'
  /** The last four bytes of the head so far. */
  #last = 0
  #headBytes = 0
  readonly #frameHead = Buffer.alloc(MAX_FRAME_HEAD)
  #frameHeadBytes = 0
  /** Bytes of the current payload that have not been written. */
  #payloadLeft = 0
  #requested = false

  /** `socket`: before the application has written to it. */
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

  /** Sends the close frame now, or after the current frame. */
  request(): void {
    this.#requested = true
    this.#sendIfDue()
  }

  #sendIfDue(): void {
    const between = this.#state === 'frames' && this.#frameHeadBytes === 0 && this.#payloadLeft === 0
    if (!this.#requested || !between || !this.#socket.writable) return
    this.#state = 'other'
    this.#write.call(this.#socket, GOING_AWAY)
  }

  #follow(chunk: unknown, encoding: unknown): void {
    if (this.#state === 'other') return
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : (chunk as Uint8Array)
    let at = 0
    if (this.#state === 'head') at = this.#followHead(bytes)
    while (this.#state === 'frames' && at < bytes.length) at = this.#followFrame(bytes, at)
    this.#sendIfDue()
  }

  /** Returns the offset of the first frame. */
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

  /** Returns the offset of the end of the frame, or of its written part. */
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
      // The application closes the WebSocket.
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
