/**
 * The sending half of a session. Heads and control frames leave at the end of the turn; data follow
 * in frames of at most 16 KB, one stream after the other, within the credit of the peer.
 */
import type { Socket } from 'node:net'
import type { LoadReport } from '../core/load-report.ts'
import { FrameWriter, releasePiece } from './frame-writer.ts'
import { fitsHead, writeRequest, writeResponse, writeTrailers } from './head-writer.ts'
import { FRAME_CHARGE_BYTES } from './limits.ts'
import type { MuxStream } from './stream.ts'
import { FLAG, FRAME, MAX_PAYLOAD_BYTES, MAX_WINDOW, PREFACE } from './wire.ts'

/** Bytes in the socket beyond which data wait, so that heads do not wait behind them. */
const HIGH_WATER_BYTES = 131_072

/** From the first on, a server reads no more requests, until the second is left to send. */
const PAUSE_BYTES = 1_048_576
const RESUME_BYTES = 262_144

/** Less of a longer body waits for more credit: small windows make no small frames. */
const LEAST_FRAGMENT_BYTES = 1_024

export interface SendOwner {
  /** Streams that are open. */
  readonly open: number
  /** Too many bytes wait for the peer, or no longer. */
  backlogged(paused: boolean): void
  /** A stream's user has thrown. */
  failed(error: unknown): void
  /** The last frame of our half of `stream` is written. */
  sentEnd(stream: MuxStream): void
}

export class SendQueue {
  /** Bytes that the peer takes of all streams together. */
  credit = 0
  /** Bytes handed to the socket that have not left it. */
  outstanding = 0
  /** Writes that the network has taken. */
  taken = 0
  /** Frames with a body, which the peer credits. */
  creditable = 0
  paused = false
  /** The peer takes reports of load. */
  reportsLoad = false
  /** What has just arrived may not be all of this turn. */
  expectsMore = false
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

  /** Whether a body may leave in the frame of its head, now. */
  fits(stream: MuxStream, headers: readonly string[], path: string, body: Uint8Array | undefined): boolean {
    if (body === undefined || body.length === 0) return true
    const charge = body.length + FRAME_CHARGE_BYTES
    if (charge > stream.credit || charge > this.credit || this.outstanding >= HIGH_WATER_BYTES) return false
    return fitsHead(headers, path, body.length)
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
    writeResponse(this.#writer, stream.id, status, reason, headers, body, end, this.#loadOf(stream))
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

  /** The peer takes more of all streams together. False: more than a window may be. */
  granted(bytes: number): boolean {
    this.credit += bytes
    if (this.#ready.length > 0) this.#schedule()
    return this.credit <= MAX_WINDOW
  }

  grantedOn(stream: MuxStream, bytes: number): boolean {
    stream.credit += bytes
    if (stream.queued > 0) this.ready(stream)
    return stream.credit <= MAX_WINDOW
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
    try {
      this.#sendData()
      this.#write()
    } catch (error) {
      this.#owner.failed(error)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#ready = []
    const piece = this.#writer.take()
    if (piece !== undefined) releasePiece(piece)
  }

  /** What goes with this frame, and with no later one. */
  #loadOf(stream: MuxStream): LoadReport | undefined {
    const { load } = stream
    if (load === undefined || !stream.serves || !this.reportsLoad) return undefined
    stream.load = undefined
    return load
  }

  #sent(stream: MuxStream, body: Uint8Array | undefined): void {
    if (body !== undefined && body.length > 0) this.#charge(stream, body.length)
    this.#schedule()
  }

  /**
   * While other streams are open, more may be written in this turn of the event loop: answers whose
   * timers fire together leave in one write. Measured: 64 answers 5 ms apart cost a quarter less.
   * What arrives together may arrive in several pieces, of one record of TLS each: 16 calls whose
   * last answer was by itself in the second one left in two writes, and cost a sixth more.
   */
  #schedule(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    if (this.expectsMore || this.#owner.open > 1) setImmediate(flush, this)
    else process.nextTick(flush, this)
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
      const blockedBy = this.#blockedBy(stream)
      if (blockedBy === 'connection') blocked.push(stream)
      else if (blockedBy === undefined && this.#sendFrame(stream)) this.#ready.push(stream)
      else stream.listed = false
    }
    this.#ready = blocked
  }

  /** Whose credit is too small for the next frame. */
  #blockedBy(stream: MuxStream): 'connection' | 'stream' | undefined {
    const { queued } = stream
    if (queued === 0) return undefined
    const needed = Math.min(queued, LEAST_FRAGMENT_BYTES) + FRAME_CHARGE_BYTES
    if (stream.credit < needed) return 'stream'
    return this.credit < needed ? 'connection' : undefined
  }

  #charge(stream: MuxStream, bytes: number): void {
    stream.credit -= bytes + FRAME_CHARGE_BYTES
    this.credit -= bytes + FRAME_CHARGE_BYTES
    this.creditable += 1
  }

  /** Sends what is allowed of a stream that is not blocked; whether it has more to send. */
  #sendFrame(stream: MuxStream): boolean {
    const most = Math.min(stream.credit, this.credit) - FRAME_CHARGE_BYTES
    const bytes = stream.queued === 0 ? 0 : Math.min(stream.queued, MAX_PAYLOAD_BYTES, most)
    const last = stream.ending && bytes === stream.queued
    if (bytes > 0 || (last && stream.trailers === undefined)) {
      const end = last && stream.trailers === undefined
      const start = this.#writer.begin(FRAME.DATA, end ? FLAG.END : 0, stream.id, bytes)
      if (bytes > 0) stream.copyTo(this.#writer.piece!, this.#writer.at, bytes)
      this.#writer.at += bytes
      this.#writer.finish(start)
      if (bytes > 0) this.#charge(stream, bytes)
    }
    if (last) {
      if (stream.trailers !== undefined) writeTrailers(this.#writer, stream.id, stream.trailers, this.#loadOf(stream))
      this.#owner.sentEnd(stream)
      return false
    }
    stream.sentSome()
    return stream.queued > 0 || (stream.ending && !stream.localEnded)
  }

  #pause(paused: boolean): void {
    this.paused = paused
    if (!this.#stopped) this.#owner.backlogged(paused)
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
    if (!this.paused && this.outstanding >= PAUSE_BYTES) this.#pause(true)
    // With TLS the memory belongs to the socket until the callback.
    this.#socket.write(piece.subarray(0, at), () => {
      releasePiece(piece)
      this.outstanding -= at
      this.taken += 1
      if (this.paused && this.outstanding <= RESUME_BYTES) this.#pause(false)
      if (this.#ready.length > 0) this.#schedule()
    })
  }
}

function flush(queue: SendQueue): void {
  queue.flush()
}
