/**
 * The body of a request on a stream. What the application has taken is credited to the sender, so
 * what it leaves unread stays within the stream's window.
 */
import type { IncomingMessage } from 'node:http'
import type { ServedStream } from './served-stream.ts'

/** Node asks for more below it. A quarter of the window, so that the sender never waits for us. */
export const BODY_HIGH_WATER_BYTES = 65_536

/** Node's flags of a request; the parser of HTTP/1.1 reads the same. */
interface Reading extends IncomingMessage {
  readonly _dumped: boolean
}

export class StreamBody {
  /** Bytes so far. */
  arrived = 0
  readonly #request: IncomingMessage
  readonly #stream: ServedStream
  /** By its `content-length`; -1: not declared. */
  readonly #length: number
  #credited = 0

  constructor(request: IncomingMessage, stream: ServedStream, length: number) {
    this.#request = request
    this.#stream = stream
    this.#length = length
  }

  /** Returns whether the body is as long as its head says, so far. */
  push(chunk: Uint8Array): boolean {
    this.arrived += chunk.length
    if (this.#length >= 0 && this.arrived > this.#length) return false
    const request = this.#request as Reading
    if (!request._dumped && !request.destroyed) request.push(chunk)
    this.credit()
    return true
  }

  get complete(): boolean {
    return this.#length < 0 || this.arrived === this.#length
  }

  /** Node wants more. */
  wanted(): void {
    this.credit()
    // Without a chunk, it would not ask again before the next one arrives, which may need credit.
    if (!this.#request.complete && !this.#request.destroyed) this.#request.push(NOTHING)
  }

  /** Nothing more arrives, and Node asks for nothing more. */
  ended(): void {
    if (this.#request.readableLength > 0) this.#request.once('end', () => this.credit())
  }

  /** The exchange is over: what is unread is no longer the sender's concern. */
  release(): void {
    this.#credit(this.arrived - this.#credited)
  }

  credit(): void {
    const { _dumped: dumped, destroyed, readableLength } = this.#request as Reading
    this.#credit(this.arrived - this.#credited - (dumped || destroyed ? 0 : readableLength))
  }

  #credit(taken: number): void {
    if (taken <= 0) return
    this.#credited += taken
    this.#stream.read(taken)
  }
}

const NOTHING = Buffer.alloc(0)
