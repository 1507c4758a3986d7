/**
 * What an answer has written and HTTP/2 has not sent. Node takes all that is written as one piece
 * and tells only when the whole is sent, so a slow reader would look like one that has stalled.
 */
import type { ServerHttp2Stream } from 'node:http2'

/** Bytes that Node holds at once. */
export const PIECE_BYTES = 65_536
/** Bytes from which on a writer is to wait, and down to which it waits. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

export class SendQueue {
  readonly #stream: ServerHttp2Stream
  readonly #drained: () => void
  /** Bytes written and not yet sent. */
  bytes = 0
  #chunks: Uint8Array[] = []
  /** The first of {@link #chunks} that Node does not have. */
  #next = 0
  /** Bytes that Node has. */
  #held = 0
  #blocked = false
  #ended = false

  constructor(stream: ServerHttp2Stream, drained: () => void) {
    this.#stream = stream
    this.#drained = drained
  }

  /** False: wait for `drained`. */
  write(chunk: Uint8Array): boolean {
    if (chunk.length > 0) {
      this.bytes += chunk.length
      this.#chunks.push(chunk)
      this.#send()
    }
    this.#blocked ||= this.bytes >= HIGH_WATER_BYTES
    return !this.#blocked
  }

  /** After what is queued, with `last` as the last of it. */
  end(last?: Uint8Array): void {
    this.#ended = true
    if (last !== undefined) {
      this.bytes += last.length
      this.#chunks.push(last)
    }
    this.#send()
  }

  #send(): void {
    while (!this.#empty && this.#held < PIECE_BYTES) {
      const piece = this.#take()
      this.#held += piece.length
      const last = this.#ended && this.#empty
      const sent = (): void => this.#sent(piece.length)
      // In one call, so that the last frame says that it is the last.
      if (last) this.#stream.end(piece, sent)
      else this.#stream.write(piece, sent)
    }
    if (this.#ended && this.#empty && !this.#stream.writableEnded) this.#stream.end()
  }

  get #empty(): boolean {
    return this.#next === this.#chunks.length
  }

  #take(): Uint8Array {
    const chunk = this.#chunks[this.#next]!
    if (chunk.length > PIECE_BYTES) {
      this.#chunks[this.#next] = chunk.subarray(PIECE_BYTES)
      return chunk.subarray(0, PIECE_BYTES)
    }
    this.#next += 1
    if (this.#empty) {
      this.#chunks = []
      this.#next = 0
    }
    return chunk
  }

  #sent(bytes: number): void {
    this.#held -= bytes
    this.bytes -= bytes
    if (!this.#stream.destroyed) this.#send()
    if (!this.#blocked || this.bytes > LOW_WATER_BYTES) return
    this.#blocked = false
    this.#drained()
  }
}
