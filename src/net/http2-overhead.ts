/**
 * Counts the bytes of an HTTP/2 connection that carry no request: WINDOW_UPDATE, PRIORITY, padding,
 * unknown and empty frames. Node reports none of these, so the count is the bytes read minus those
 * of requests.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'

const FRAME_HEAD_BYTES = 9
/** HPACK encodes a literal with a type and two lengths: half for the name, half for the value. */
const BYTES_PER_TEXT = 4
/** Allowance per stream for frame heads, PRIORITY, WINDOW_UPDATE, RST_STREAM and short trailers. */
const BYTES_PER_STREAM = 256
/**
 * A peer answers a DATA frame (at least 10 bytes) with at most two WINDOW_UPDATE (13 each), and a
 * PING with one frame.
 */
const BYTES_PER_WRITTEN = 3
/**
 * Answers arrive later than the frames they answer, so unused credit is kept, up to this many
 * budgets.
 */
const BUDGETS_OF_CREDIT = 2
const END_STREAM = 1

const OVERHEAD = Symbol('overhead')
const BODY_ENDED = Symbol('bodyEnded')
type CountedStream = ServerHttp2Stream & { [OVERHEAD]?: Overhead; [BODY_ENDED]?: boolean }

/**
 * One per session: a leaky bucket that drains one budget per window, and loses unused credit at the
 * same rate.
 */
export class Overhead {
  readonly #session: ServerHttp2Session
  readonly #socket: Socket
  readonly #budget: number
  readonly #windowMs: number
  /** Bytes of bodies since the connection began. */
  pieces = 0
  /** When bytes last moved, in either direction. */
  movedAt: number
  #explained = 0
  #seenRead = 0
  #seenWritten = 0
  #level = 0
  #at: number

  constructor(session: ServerHttp2Session, socket: Socket, budget: number, windowMs: number, now: number) {
    this.#session = session
    this.#socket = socket
    this.#budget = budget
    this.#windowMs = windowMs
    this.#at = now
    this.movedAt = now
  }

  /** Accounts for a new stream: its head now, its body as it arrives. */
  opened(stream: ServerHttp2Stream, flags: number, rawHeaders: readonly string[]): void {
    let bytes = BYTES_PER_STREAM
    for (let i = 0; i < rawHeaders.length; i++) bytes += rawHeaders[i]!.length + BYTES_PER_TEXT
    this.#explained += bytes
    if ((flags & END_STREAM) !== 0) return
    const counted = stream as CountedStream
    counted[OVERHEAD] = this
    counted[BODY_ENDED] = false
    // A listener for `data` would start the flow before the handler is ready.
    counted.push = pushCounted
  }

  closed(stream: ServerHttp2Stream): void {
    // nghttp2 drops the rest of an unread body: at most what the window allowed.
    if ((stream as CountedStream)[BODY_ENDED] !== false || this.#session.destroyed) return
    this.#explained += this.#session.localSettings.initialWindowSize ?? 65_535
  }

  /** @internal */
  received(bytes: number): void {
    this.pieces += 1
    this.#explained += bytes + FRAME_HEAD_BYTES
  }

  /** Whether the peer has sent more than the budget allows. */
  exceeded(now: number): boolean {
    const { bytesRead, bytesWritten } = this.#socket
    if (bytesRead !== this.#seenRead || bytesWritten !== this.#seenWritten) this.movedAt = now
    const written = (bytesWritten - this.#seenWritten) * BYTES_PER_WRITTEN
    const leaked = (this.#budget * (now - this.#at)) / this.#windowMs
    const level = Math.sign(this.#level) * Math.max(0, Math.abs(this.#level) - leaked)
    const next = level + bytesRead - this.#seenRead - this.#explained - written
    this.#level = Math.max(next, -BUDGETS_OF_CREDIT * this.#budget)
    this.#explained = 0
    this.#seenRead = bytesRead
    this.#seenWritten = bytesWritten
    this.#at = now
    return this.#level > this.#budget
  }
}

function pushCounted(this: CountedStream, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
  // Node also ends the readable side of a stream that closes early.
  if (chunk === null) this[BODY_ENDED] = !this.closed
  else this[OVERHEAD]!.received(chunk.length)
  return Readable.prototype.push.call(this, chunk, encoding)
}
