/**
 * The response to a request on a stream: Node's own, that hands its head over instead of writing it
 * as text of HTTP/1.1. The hooks are own properties, because frameworks replace the prototype.
 */
import { IncomingMessage, ServerResponse } from 'node:http'
import type { LoadReport } from '../../core/load-report.ts'
import { reportWith, ServedResponse, withOrca } from './response.ts'

/** What takes the parts of an answer. */
export interface AnswerSink {
  /** The exchange was cut off. */
  readonly destroyed: boolean
  headStored(status: number, reason: string, head: string, chunked: boolean, load: LoadReport | undefined): void
  /** `trailers`: as text. */
  finishing(trailers: string): void
}

/** Undocumented parts of `OutgoingMessage`; tests pin them. */
interface Outgoing {
  readonly _header: string
  readonly _trailer: string
  _headerSent: boolean
  chunkedEncoding: boolean
  _storeHeader(statusLine: string, headers: unknown): void
  _finish(): void
}

const SINK = Symbol('inmesh.sink')
type Streamed = ServerResponse & Outgoing & { readonly [SINK]: AnswerSink }
const NODES = ServerResponse.prototype as unknown as Outgoing

export class StreamResponse extends ServedResponse {
  readonly [SINK]: AnswerSink

  constructor(request: IncomingMessage, sink: AnswerSink) {
    super(request as never)
    this[SINK] = sink
    ;(this as unknown as { _storeHeader: unknown })._storeHeader = storeHeader
    ;(this as unknown as { _finish: unknown })._finish = finish
  }
}

function storeHeader(this: Streamed, statusLine: string, headers: unknown): void {
  NODES._storeHeader.call(this, statusLine, headers)
  const { chunkedEncoding } = this
  // From here on, Node writes nothing but the body, without chunks.
  this.chunkedEncoding = false
  // Of an exchange that was cut off before, Node keeps the head, and no `finish` follows.
  this._headerSent = !this[SINK].destroyed
  const load = reportWith(this)
  const head = withOrca(this._header, load?.orca)
  this[SINK].headStored(this.statusCode, this.statusMessage, head, chunkedEncoding, load?.mesh)
}

function finish(this: Streamed): void {
  NODES._finish.call(this)
  this[SINK].finishing(this._trailer)
}

const NEED_DRAIN = symbolOf(new ServerResponse({ method: 'GET' } as IncomingMessage), 'kNeedDrain')

/** After a write that returned false: there is room again. */
export function emitDrain(response: ServerResponse): void {
  if (!response.writableNeedDrain) return
  if (NEED_DRAIN !== undefined) (response as unknown as Record<symbol, boolean>)[NEED_DRAIN] = false
  response.emit('drain')
}

/** Node does the same on the socket's `close`, and a turn after `finish`. */
export function emitClose(response: ServerResponse): void {
  const closable = response as ServerResponse & { _closed: boolean }
  if (closable._closed) return
  response.destroyed = true
  closable._closed = true
  response.emit('close')
}

const DETACH_SIGNAL = symbolOf(IncomingMessage.prototype, 'kDetachAbortSignal')

/** The end of an answered exchange does not abort `request.signal`. */
export function detachSignal(request: IncomingMessage): void {
  if (DETACH_SIGNAL !== undefined) (request as unknown as Record<symbol, () => void>)[DETACH_SIGNAL]!()
}

function symbolOf(object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description)
}
