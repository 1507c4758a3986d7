/**
 * A mux stream in the place of a stream of HTTP/2, as grpc-js's server uses one. An answer whose
 * first message follows in the same turn leaves in one frame with its head.
 *
 * - open → answered: trailers, or a head that is all
 * - open, answered → closed: both halves have ended, or either side has reset it
 */
import { EventEmitter } from 'node:events'
import { constants, type OutgoingHttpHeaders, type ServerStreamResponseOptions } from 'node:http2'
import type { Socket } from 'node:net'
import type { MuxReset, MuxStream, StreamEvents } from '../../mux/stream.ts'
import { RESET, type ResetCode } from '../../mux/wire.ts'
import { flatHeaders } from './mux-headers.ts'
import type { HeadersOwner, ServedStream } from './served-stream.ts'
import { UNKNOWN_TRAILERS } from './status.ts'

/** Hears of the stream by methods instead of events, which cost a listener and a closure each. */
export interface StreamReader {
  dataArrived(chunk: Buffer): void
  requestsEnded(): void
  trailersWanted(): void
  /** The `close` event follows. */
  closed(): void
}

type Written = (error?: Error | null) => void

const NOTHING: Buffer[] = []
/** Bytes that may wait while the writer goes on. */
const MOST_WAITING = 65_536

export class GrpcMuxStream extends EventEmitter implements ServedStream, StreamEvents {
  destroyed = false
  closed = false
  aborted = false
  headersSent = false
  readableEnded = false
  rstCode = 0
  /** Of HTTP/2, of which grpc-js reads the socket only. */
  readonly session: { readonly socket: Socket }
  /** Learns what cannot be sent. */
  headersOwner: HeadersOwner | undefined = undefined
  /** As of a stream of Node: what was written waits, and `drain` follows. */
  writableNeedDrain = false
  /** In the place of the listeners for `data`, `end` and `wantTrailers`. */
  reader: StreamReader | undefined = undefined
  readonly #stream: MuxStream
  #chunks = NOTHING
  #flowing = false
  #emitting = false
  #received = false
  #answered = false
  /** A head that waits for the first message. */
  #head: string[] | undefined = undefined
  #written: Written | undefined = undefined
  #ending = false
  /** Trailers follow the last message. */
  #trailing = false
  #status = 200

  /** `received`: the request has ended with its head. */
  constructor(stream: MuxStream, session: { readonly socket: Socket }, received: boolean) {
    super()
    this.#stream = stream
    this.session = session
    this.#received = received
    stream.events = this
  }

  // The request.

  pause(): this {
    this.#flowing = false
    return this
  }

  resume(): this {
    this.#flowing = true
    this.#flow()
    return this
  }

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.#received = end
    if (this.#answered) stream.read(chunk.length)
    else if (this.#chunks === NOTHING) this.#chunks = [chunk]
    else this.#chunks.push(chunk)
    this.#flow()
  }

  trailersArrived(): void {
    this.#received = true
    this.#flow()
  }

  #flow(): void {
    if (this.#emitting) return
    this.#emitting = true
    while (this.#flowing && this.#chunks.length > 0) {
      const chunk = this.#chunks.shift()!
      this.#stream.read(chunk.length)
      if (this.reader !== undefined) this.reader.dataArrived(chunk)
      else this.emit('data', chunk)
    }
    if (this.#flowing && this.#received && this.#chunks.length === 0 && !this.readableEnded) {
      this.readableEnded = true
      if (this.reader !== undefined) this.reader.requestsEnded()
      else this.emit('end')
    }
    this.#emitting = false
    this.#closeIfEnded()
  }

  // The answer.

  respond(headers: OutgoingHttpHeaders = {}, options?: ServerStreamResponseOptions): void {
    if (this.closed) return
    if (this.headersSent) throw new Error('the head has been sent')
    const end = options?.endStream === true
    let flat: string[]
    try {
      flat = flatHeaders(headers)
    } catch (error) {
      this.#failed(error)
      return
    }
    this.headersSent = true
    this.#status = Number(headers[':status'] ?? 200)
    this.#trailing = options?.waitForTrailers === true
    if (end) this.#endWith(this.#status, flat)
    else {
      this.#head = flat
      process.nextTick(sendHead, this)
    }
  }

  write(chunk: Buffer, written?: Written): boolean {
    if (this.closed || this.#ending) return false
    const stream = this.#stream
    if (this.#head === undefined) stream.write(chunk)
    else this.#sendHead(chunk)
    this.writableNeedDrain = !this.#leavesSoon()
    if (this.writableNeedDrain) this.#written = written
    else written?.()
    return !this.writableNeedDrain
  }

  end(): this {
    if (this.#ending || this.closed) return this
    this.#ending = true
    if (this.#head !== undefined) this.#sendHead(undefined)
    if (!this.writableNeedDrain && this.#leavesSoon()) this.#end()
    return this
  }

  #end(): void {
    if (this.#trailing && this.reader !== undefined) this.reader.trailersWanted()
    else if (this.#trailing) this.emit('wantTrailers')
    else {
      this.#answered = true
      this.#stream.end()
      this.#discard()
      this.#closeIfEnded()
    }
  }

  sendTrailers(trailers: OutgoingHttpHeaders): void {
    if (this.closed || this.#answered) return
    this.#answered = true
    this.#stream.load = this.headersOwner?.loadReport()?.mesh
    try {
      this.#stream.end(flatHeaders(trailers))
    } catch (error) {
      this.headersOwner?.headersFailed(error)
      this.#stream.end(flatHeaders(UNKNOWN_TRAILERS))
    }
    this.#discard()
    this.#closeIfEnded()
  }

  drained(): void {
    process.nextTick(wentOn, this)
  }

  /** @internal What waited has left. */
  wentOn(): void {
    if (this.closed) return
    const written = this.#written
    this.#written = undefined
    this.writableNeedDrain = false
    written?.()
    this.emit('drain')
    if (this.#ending && !this.#answered && this.#leavesSoon()) this.#end()
  }

  /** @internal No message has come with it. */
  sendHead(): void {
    if (this.#head !== undefined && !this.closed) this.#sendHead(undefined)
  }

  #sendHead(message: Buffer | undefined): void {
    const head = this.#head!
    this.#head = undefined
    this.#stream.respond(this.#status, '', head, message, false)
  }

  /** Whether the peer takes what waits. If not, {@link wentOn} follows. */
  #leavesSoon(): boolean {
    const { queued, credit } = this.#stream
    return (queued <= credit && queued < MOST_WAITING) || this.#stream.sentAll()
  }

  #endWith(status: number, flat: readonly string[]): void {
    this.#answered = true
    this.#stream.respond(status, '', flat, undefined, true)
    this.#discard()
    this.#closeIfEnded()
  }

  #failed(error: unknown): void {
    this.headersSent = true
    this.headersOwner?.headersFailed(error)
    this.#endWith(200, flatHeaders({ 'content-type': 'application/grpc+proto', ...UNKNOWN_TRAILERS }))
  }

  // The end.

  close(code: number = constants.NGHTTP2_NO_ERROR): void {
    if (this.closed) return
    this.rstCode = code
    this.#stream.reset(RESETS[code] ?? RESET.INTERNAL_ERROR)
    this.#close()
    process.nextTick(emitClose, this)
  }

  wasReset(_stream: MuxStream, { code }: MuxReset): void {
    if (this.closed) return
    this.aborted = true
    this.rstCode = code === RESET.NO_ERROR ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL
    this.#close()
    process.nextTick(emitClose, this)
  }

  responseArrived(): void {
    // Servers receive none.
  }

  /** What the caller still sends does not fill its window. */
  #discard(): void {
    for (const chunk of this.#chunks) this.#stream.read(chunk.length)
    this.#chunks = NOTHING
  }

  #closeIfEnded(): void {
    if (!this.#answered || !this.#received || this.closed) return
    this.#close()
    emitClose(this)
  }

  #close(): void {
    this.closed = true
    this.destroyed = true
    this.#head = undefined
    this.#written = undefined
  }
}

const RESETS: Readonly<Record<number, ResetCode>> = Object.freeze({
  [constants.NGHTTP2_NO_ERROR]: RESET.NO_ERROR,
  [constants.NGHTTP2_CANCEL]: RESET.CANCELLED,
  [constants.NGHTTP2_REFUSED_STREAM]: RESET.NOT_EXECUTED,
})

function sendHead(stream: GrpcMuxStream): void {
  stream.sendHead()
}

function wentOn(stream: GrpcMuxStream): void {
  stream.wentOn()
}

function emitClose(stream: GrpcMuxStream): void {
  stream.reader?.closed()
  stream.emit('close')
}
