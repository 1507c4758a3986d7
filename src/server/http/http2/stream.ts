/**
 * One HTTP/2 stream as the socket of its request and response sees it, with the methods of a stream
 * of `inmesh/1`.
 *
 * - open: both halves may send
 * - half closed: the request has been read to its end, or the response has been written
 * - closed: both, or one side has reset it
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2'
import { LOAD } from '../../../core/headers.ts'
import { formatLoad } from '../../../core/load-header.ts'
import type { LoadReport } from '../../../core/load-report.ts'
import { HTTP2_CODES, resetOfHttp2 } from '../../../mux/http2-codes.ts'
import { RESET, type ResetCode } from '../../../mux/wire.ts'
import type { ServedStream, ServedStreamEvents } from '../served-stream.ts'
import { type Fields, fieldsOf } from './fields.ts'
import { PIECE_BYTES, SendQueue } from './send-queue.ts'

/** Bytes that a handler has not read, from which on none are taken from the stream. */
const MOST_UNREAD_BYTES = 65_536

/** The date is among the headers, or the handler has removed it. Not in the typings. */
const AS_SAID = { sendDate: false } as const

const NOTHING = Buffer.alloc(0)
const NO_TRAILERS: Fields = Object.freeze({})

export class Http2Stream implements ServedStream {
  /** Set before {@link Http2Stream.start}. */
  events!: ServedStreamEvents
  load: LoadReport | undefined = undefined
  readonly #stream: ServerHttp2Stream
  readonly #queue: SendQueue
  #unread = 0
  #receivedTrailers: string[] | undefined = undefined
  #trailers: Fields | undefined = undefined
  ending = false
  localEnded = false
  /** We have reset it. */
  #left = false

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
    this.#queue = new SendQueue(stream, () => this.events.drained(this))
  }

  /** Whether the request has ended with its head. */
  get remoteEnded(): boolean {
    const { endAfterHeaders, readableEnded } = this.#stream
    return endAfterHeaders || readableEnded
  }

  /** From now on, there are events, in the present async context. */
  start(): void {
    const stream = this.#stream
    const here = AsyncLocalStorage.snapshot()
    stream.on('close', () => here(closed, this))
    stream.on('finish', () => here(answered, this))
    if (this.remoteEnded) {
      stream.resume()
      return
    }
    stream.on('trailers', (_headers, _flags, raw?: string[]) => {
      this.#receivedTrailers = raw ?? []
    })
    stream.on('data', (chunk: Buffer) => here(received, this, chunk))
    stream.on('end', () => here(requestEnded, this))
  }

  /** Bytes written and not yet sent. */
  get queued(): number {
    return this.#queue.bytes
  }

  get #over(): boolean {
    return this.#left || this.#stream.closed || this.#stream.destroyed
  }

  respond(
    status: number,
    _reason: string,
    headers: readonly string[],
    body: Uint8Array | string | undefined,
    end: boolean,
  ): void {
    if (this.#over || this.#stream.headersSent) return
    const fields = fieldsOf(headers)
    fields[':status'] = String(status)
    try {
      if (status < 200) this.#stream.additionalHeaders(fields)
      else {
        if (this.load !== undefined) fields[LOAD] = formatLoad(this.load)
        this.#respond(fields, body === undefined || body.length === 0 ? undefined : body, end)
      }
    } catch {
      // Node finds in it what no client of HTTP/2 would take.
      this.#stream.close(HTTP2_CODES[RESET.INTERNAL_ERROR])
    }
  }

  #respond(fields: Fields, body: Uint8Array | string | undefined, end: boolean): void {
    const stream = this.#stream
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    this.ending = end
    if (end && (bytes === undefined || bytes.length <= PIECE_BYTES)) {
      respond(stream, fields, { ...AS_SAID, endStream: bytes === undefined })
      if (bytes !== undefined) this.#queue.end(bytes)
      return
    }
    // To reset a stream, Node ends it first. Without trailers, a part would pass for the whole.
    stream.on('wantTrailers', () => {
      if (!this.#over) stream.sendTrailers(this.#trailers ?? NO_TRAILERS)
    })
    respond(stream, fields, { ...AS_SAID, waitForTrailers: true })
    if (end) this.#queue.end(bytes)
    else if (bytes !== undefined) this.#queue.write(bytes)
  }

  write(chunk: Uint8Array | string): boolean {
    return this.#over || this.#queue.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  }

  end(trailers?: readonly string[]): void {
    if (this.#over || this.ending) return
    this.ending = true
    if (trailers !== undefined) this.#trailers = fieldsOf(trailers)
    this.#queue.end()
  }

  read(bytes: number): void {
    this.#unread -= bytes
    if (this.#unread < MOST_UNREAD_BYTES && this.#stream.isPaused()) this.#stream.resume()
  }

  reset(code: ResetCode): void {
    if (this.#left) return
    this.#left = true
    // Within a read, CANCEL after two writes makes Node 24 send empty frames without end.
    setImmediate(() => {
      this.#stream.close(HTTP2_CODES[code])
      this.#stream.resume()
    })
  }

  /** @internal */
  answered(): void {
    if (!this.ending || this.localEnded) return
    this.localEnded = true
    this.events.endSent?.(this)
  }

  /** @internal */
  received(chunk: Buffer): void {
    this.#unread += chunk.length
    if (this.#unread >= MOST_UNREAD_BYTES) this.#stream.pause()
    this.events.dataArrived(this, chunk, false)
  }

  /** @internal A stream that is reset ends its readable half as well. */
  requestEnded(): void {
    const { aborted, rstCode } = this.#stream
    if (aborted || rstCode !== 0) return
    if (this.#receivedTrailers === undefined) this.events.dataArrived(this, NOTHING, true)
    else this.events.trailersArrived(this, this.#receivedTrailers)
  }

  /** @internal */
  closed(): void {
    const code = this.#stream.rstCode
    if (this.#left) return
    // Node closes a stream without `finish` if its request had ended before.
    if (this.ending && code === 0) this.answered()
    else this.events.wasReset(this, { code: resetOfHttp2(code ?? 0), reason: '', executed: true })
  }
}

function answered(stream: Http2Stream): void {
  stream.answered()
}

function received(stream: Http2Stream, chunk: Buffer): void {
  stream.received(chunk)
}

function requestEnded(stream: Http2Stream): void {
  stream.requestEnded()
}

function closed(stream: Http2Stream): void {
  stream.closed()
}

const ONE_VALUE = /^Header field "([^"]+)" must only have a single value$/

/** Node 22 refuses several lines of some fields. The first counts, as for clients of Node. */
function respond(stream: ServerHttp2Stream, fields: Fields, options: ServerStreamResponseOptions): void {
  for (;;) {
    try {
      stream.respond(fields, options)
      return
    } catch (error) {
      const [, name] = ONE_VALUE.exec((error as Error).message) ?? []
      const lines = name === undefined ? undefined : fields[name]
      if (!Array.isArray(lines)) throw error
      fields[name!] = lines[0]!
    }
  }
}
