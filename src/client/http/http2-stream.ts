/**
 * One stream of a client's HTTP/2 connection, with the methods of a stream of `inmesh/1`.
 *
 * - open: the answer has not ended
 * - over: the answer is complete, the stream was reset, or the connection was lost
 */
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2'
import { HTTP2_CODES } from '../../mux/http2-codes.ts'
import type { MuxReset } from '../../mux/stream.ts'
import { RESET, type ResetCode } from '../../mux/wire.ts'
import type { RequestStream, RequestStreamEvents } from './request-stream.ts'

/** Bytes that the caller has not read, from which on none are taken from the stream. */
const MOST_UNREAD_BYTES = 262_144

/** The connection of a stream. */
export interface Http2StreamOwner {
  /** How a stream ended that did not end well. `answered`: its head has arrived. */
  resetOf(id: number | undefined, code: number, answered: boolean): MuxReset
}

export class Http2RequestStream implements RequestStream {
  localEnded = false
  /** It comes as a header. */
  readonly load = undefined
  readonly #stream: ClientHttp2Stream
  readonly #owner: Http2StreamOwner
  readonly #events: RequestStreamEvents
  #unread = 0
  #answered = false
  #trailers: string[] | undefined = undefined
  #over = false

  constructor(stream: ClientHttp2Stream, owner: Http2StreamOwner, events: RequestStreamEvents) {
    this.#stream = stream
    this.#owner = owner
    this.#events = events
    // An `error` without a listener ends the process; `close` follows and says more.
    stream.on('error', ignore)
    stream.on('headers', (_headers: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
      if (!this.#over && !this.#answered) this.#headArrived(raw ?? [], false)
    })
    stream.on('response', (_headers: IncomingHttpHeaders, flags: number, raw?: string[]) => {
      this.#answered = true
      if (!this.#over) this.#headArrived(raw ?? [], (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0)
    })
    stream.on('trailers', (_headers: IncomingHttpHeaders, _flags: number, raw?: string[]) => {
      this.#trailers = raw ?? []
    })
    stream.on('data', (chunk: Buffer) => this.#received(chunk))
    stream.on('end', () => this.#ended())
    // For a body in parts. To reset a stream, Node ends it first: a part would pass for the whole.
    stream.on('wantTrailers', () => {
      if (!this.#over && this.localEnded) stream.sendTrailers(NO_TRAILERS)
    })
    stream.on('drain', () => {
      if (!this.#over) events.drained(this)
    })
    stream.on('close', () => this.#closed())
  }

  write(chunk: Uint8Array): boolean {
    return this.#over || this.#stream.write(chunk)
  }

  end(): void {
    this.localEnded = true
    if (!this.#over) this.#stream.end()
  }

  /** The whole body in one piece, or none. */
  endWith(content: Uint8Array | undefined): void {
    this.localEnded = true
    if (content !== undefined) this.#stream.end(content)
  }

  read(bytes: number): void {
    this.#unread -= bytes
    if (this.#unread < MOST_UNREAD_BYTES && this.#stream.isPaused()) this.#stream.resume()
  }

  reset(code: ResetCode): void {
    this.#over = true
    this.#stream.close(HTTP2_CODES[code])
    this.#stream.resume()
  }

  #headArrived(raw: string[], end: boolean): void {
    let status = 0
    const headers: string[] = []
    for (let i = 0; i + 1 < raw.length; i += 2) {
      if (raw[i] === ':status') status = Number(raw[i + 1])
      else headers.push(raw[i]!, raw[i + 1]!)
    }
    if (end) this.#over = true
    this.#events.responseArrived(this, status, '', headers, end)
  }

  #received(chunk: Buffer): void {
    if (this.#over) return
    this.#unread += chunk.length
    if (this.#unread >= MOST_UNREAD_BYTES) this.#stream.pause()
    this.#events.dataArrived(this, chunk, false)
  }

  /** A stream that is reset, or lost, ends its readable half as well. */
  #ended(): void {
    const { aborted, rstCode, destroyed } = this.#stream
    if (this.#over || aborted || destroyed || rstCode !== 0) return
    if (!this.#answered) {
      this.#lose({ code: RESET.PROTOCOL_ERROR, reason: 'it ended without an answer', executed: true })
      return
    }
    this.#over = true
    if (this.#trailers === undefined) this.#events.dataArrived(this, NOTHING, true)
    else this.#events.trailersArrived(this, this.#trailers)
  }

  #closed(): void {
    const { id, rstCode } = this.#stream
    if (!this.#over) this.#lose(this.#owner.resetOf(id, rstCode ?? 0, this.#answered))
  }

  #lose(reset: MuxReset): void {
    this.#over = true
    this.#events.wasReset(this, reset)
  }
}

const NOTHING = Buffer.alloc(0)
const NO_TRAILERS = Object.freeze({})

function ignore(): void {}
