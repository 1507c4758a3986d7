/**
 * Closes a WebSocket with 1001, going away (RFC 6455, 7.4.1), when the server drains. The
 * application may write a frame in pieces, so the close frame waits for the end of the current one.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { FrameFollower, goingAwayFrame } from '../../net/websocket-frames.ts'

const VERSION = Buffer.from('HTTP/1.1 ')
const STATUS_END = VERSION.length + 3
const SWITCHED = 101
const HEAD_END = 0x0d0a0d0a
const ZERO = 0x30

export function isWebSocket({ headers }: IncomingMessage): boolean {
  const protocols = headers.upgrade?.toLowerCase().split(',') ?? []
  return protocols.some((protocol) => protocol.trim() === 'websocket')
}

/**
 * Follows the bytes that the application writes.
 *
 * - `head` → `frames`: the head of a 101 is complete
 * - `head` → `other`: that of another answer is, or it is none of HTTP/1.1
 * - `frames` → `other`: a close frame was sent, by the application or by us
 */
export class WebSocketClose {
  readonly #socket: Socket
  readonly #write: Socket['write']
  /** Of the answer; 0: not yet written. */
  status = 0
  /** Bytes of the answer's head. */
  headBytes = 0
  readonly #frames = new FrameFollower()
  #state: 'head' | 'frames' | 'other' = 'head'
  /** The last four bytes of the head so far. */
  #last = 0
  #digits = 0
  #requested = false

  /** `socket`: before the application has written to it. */
  constructor(socket: Socket) {
    this.#socket = socket
    const { write, end } = socket
    this.#write = write
    const follow = (chunk: unknown, encoding: unknown): void => this.#follow(chunk, encoding)
    socket.write = function (this: Socket, ...given: Parameters<Socket['write']>): boolean {
      const taken = write.apply(this, given)
      follow(given[0], given[1])
      return taken
    } as Socket['write']
    // It does not go by `write`.
    socket.end = function (this: Socket, ...given: Parameters<Socket['end']>): Socket {
      const ended = end.apply(this, given)
      if (typeof given[0] === 'string' || ArrayBuffer.isView(given[0])) follow(given[0], given[1])
      return ended
    } as Socket['end']
  }

  /** Sends the close frame now, or after the current frame. */
  request(): void {
    this.#requested = true
    this.#sendIfDue()
  }

  #sendIfDue(): void {
    if (!this.#requested || this.#state !== 'frames' || !this.#frames.between || !this.#socket.writable) return
    this.#state = 'other'
    this.#write.call(this.#socket, goingAwayFrame(false))
  }

  #follow(chunk: unknown, encoding: unknown): void {
    if (this.#state === 'other') return
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : (chunk as Uint8Array)
    const at = this.#state === 'head' ? this.#followHead(bytes) : 0
    if (this.#state === 'frames') {
      this.#frames.follow(bytes, at)
      // The application closes the WebSocket.
      if (this.#frames.closing) this.#state = 'other'
    }
    this.#sendIfDue()
  }

  #readStatus(digit: number): void {
    this.#digits = this.#digits * 10 + digit
    if (this.headBytes === STATUS_END - 1) this.status = this.#digits
  }

  /** Returns the offset of the first frame. */
  #followHead(bytes: Uint8Array): number {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (this.headBytes < VERSION.length && byte !== VERSION[this.headBytes]) {
        this.#state = 'other'
        return at
      }
      if (this.headBytes >= VERSION.length && this.headBytes < STATUS_END) this.#readStatus(byte - ZERO)
      this.headBytes += 1
      this.#last = ((this.#last << 8) | byte) >>> 0
      if (this.#last === HEAD_END) {
        this.#state = this.status === SWITCHED ? 'frames' : 'other'
        return at + 1
      }
    }
    return bytes.length
  }
}

function encodingOf(given: unknown): BufferEncoding {
  return typeof given === 'string' ? (given as BufferEncoding) : 'utf8'
}
