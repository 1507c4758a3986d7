/**
 * The sending half of a session. Heads and control frames leave at the end of the turn; data follow
 * in frames of at most 16 KB, one stream after the other, within the credit of the peer.
 */
import type { Socket } from 'node:net'
import { FrameWriter, releasePiece } from './frame-writer.ts'
import { writeRequest, writeResponse, writeTrailers } from './head-writer.ts'
import type { MuxStream } from './stream.ts'
import { FLAG, FRAME, MAX_PAYLOAD_BYTES, PREFACE } from './wire.ts'

/** Bytes in the socket beyond which data wait, so that heads do not wait behind them. */
const HIGH_WATER_BYTES = 131_072

export interface SendOwner {
  /** The last frame of our half of `stream` is written. */
  sentEnd(stream: MuxStream): void
}

export class SendQueue {
  /** Bytes that the peer takes of all streams together. */
  credit = 0
  /** Bytes handed to the socket that have not left it. */
  outstanding = 0
  /** The last stream whose head was handed to the socket. */
  flushedStream = 0
  readonly #socket: Socket
  readonly #owner: SendOwner
  readonly #writer = new FrameWriter(() => this.#write())
  /** Streams with data, in the order of their turns. */
  #ready: MuxStream[] = []
  #scheduled = false
  #stopped = false
  #lastStream = 0

  constructor(socket: Socket, owner: SendOwner) {
    this.#socket = socket
    this.#owner = owner
  }

  /** The first bytes of a connection. */
  start(preface: boolean, settings: Buffer): void {
    if (preface) {
      const piece = this.#writer.room(PREFACE.length)
      piece.set(PREFACE, this.#writer.at)
      this.#writer.at += PREFACE.length
    }
    this.#writer.bytes(FRAME.SETTINGS, 0, 0, settings)
    this.#schedule()
  }

  /** Whether data of that length may leave with a head now. */
  takes(bytes: number): boolean {
    return bytes <= this.credit && this.outstanding < HIGH_WATER_BYTES
  }

  request(
    stream: MuxStream,
    method: string,
    path: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): void {
    writeRequest(this.#writer, stream.id, method, path, headers, body, end)
    this.#lastStream = stream.id
    this.#sent(stream, body)
  }

  response(
    stream: MuxStream,
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): void {
    writeResponse(this.#writer, stream.id, status, reason, headers, body, end)
    this.#sent(stream, body)
  }

  reset(stream: number, code: number, reason: string): void {
    this.#writer.reset(stream, code, reason)
    this.#schedule()
  }

  window(stream: number, bytes: number): void {
    this.#writer.window(stream, bytes)
    this.#schedule()
  }

  ping(payload: Uint8Array, ack: boolean): void {
    this.#writer.ping(payload, ack)
    this.#schedule()
  }

  goAway(lastStream: number, code: number, reason: string): void {
    this.#writer.goAway(lastStream, code, reason)
    this.#schedule()
  }

  /** The peer takes more of all streams together. */
  credited(bytes: number): void {
    this.credit += bytes
    if (this.#ready.length > 0) this.#schedule()
  }

  ready(stream: MuxStream): void {
    if (stream.listed) return
    stream.listed = true
    this.#ready.push(stream)
    this.#schedule()
  }

  flush(): void {
    this.#scheduled = false
    if (this.#stopped) return
    this.#sendData()
    this.#write()
  }

  stop(): void {
    this.#stopped = true
    this.#ready = []
    const piece = this.#writer.take()
    if (piece !== undefined) releasePiece(piece)
  }

  #sent(stream: MuxStream, body: Uint8Array | undefined): void {
    if (body !== undefined) {
      this.credit -= body.length
      stream.credit -= body.length
    }
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    process.nextTick(flush, this)
  }

  /** Each stream sends one frame in its turn. A stream without credit leaves until it gets some. */
  #sendData(): void {
    if (this.#ready.length === 0) return
    const blocked: MuxStream[] = []
    for (let next = 0; next < this.#ready.length; next++) {
      const room = this.outstanding + this.#writer.at < HIGH_WATER_BYTES
      if (!room) {
        this.#ready = [...this.#ready.slice(next), ...blocked]
        return
      }
      const stream = this.#ready[next]!
      if (stream.closed) continue
      if (stream.queued > 0 && stream.credit > 0 && this.credit === 0) blocked.push(stream)
      else if (this.#sendFrame(stream)) this.#ready.push(stream)
      else stream.listed = false
    }
    this.#ready = blocked
  }

  /** Whether the stream has more to send. */
  #sendFrame(stream: MuxStream): boolean {
    const bytes = Math.min(stream.queued, MAX_PAYLOAD_BYTES, stream.credit, this.credit)
    if (bytes === 0 && stream.queued > 0) return false
    const last = stream.ending && bytes === stream.queued
    if (bytes > 0 || (last && stream.trailers === undefined)) {
      const end = last && stream.trailers === undefined
      const start = this.#writer.begin(FRAME.DATA, end ? FLAG.END : 0, stream.id, bytes)
      if (bytes > 0) stream.copyTo(this.#writer.piece!, this.#writer.at, bytes)
      this.#writer.at += bytes
      this.#writer.finish(start)
      stream.credit -= bytes
      this.credit -= bytes
    }
    if (last) {
      if (stream.trailers !== undefined) writeTrailers(this.#writer, stream.id, stream.trailers)
      this.#owner.sentEnd(stream)
      return false
    }
    stream.sentSome()
    return stream.queued > 0 || (stream.ending && !stream.localEnded)
  }

  #write(): void {
    const { at } = this.#writer
    const piece = this.#writer.take()
    if (piece === undefined) return
    if (at === 0 || this.#socket.destroyed || !this.#socket.writable) {
      releasePiece(piece)
      return
    }
    this.flushedStream = this.#lastStream
    this.outstanding += at
    // With TLS the memory belongs to the socket until the callback.
    this.#socket.write(piece.subarray(0, at), () => {
      releasePiece(piece)
      this.outstanding -= at
      if (this.#ready.length > 0) this.#schedule()
    })
  }
}

function flush(queue: SendQueue): void {
  queue.flush()
}
