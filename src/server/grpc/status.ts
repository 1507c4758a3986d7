/**
 * The status of a call as it can be sent: text that a header can carry, a code that gRPC knows,
 * trailers that HTTP/2 takes. What cannot be sent as it is ends the call with UNKNOWN instead of
 * the process.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'

/** As grpc-js's handlers and interceptors hand it on. */
export type PartialStatusObject = Parameters<Parameters<grpc.ServerInterceptor>[1]['sendStatus']>[0]

/** Percent-encoded, with room for trailers within the 64 KiB that HTTP/2 peers commonly take. */
const LONGEST_DETAILS = 16 * 1024
/** The same, of all names and values together. */
const MOST_HEADER_BYTES = 60 * 1024

/** What the caller gets for an error that only the log may show. */
export const UNKNOWN_ERROR = 'Unknown error'

/** `status` as it can be sent. */
export function sendableStatus(status: PartialStatusObject): PartialStatusObject {
  const { code, details, metadata } = status
  if (!isCode(code) || !isMetadata(metadata))
    return { code: GRPC_STATUS.UNKNOWN, details: UNKNOWN_ERROR, metadata: null }
  const text = sendableDetails(details)
  return text === details ? status : { ...status, details: text }
}

function isCode(code: unknown): boolean {
  return Number.isInteger(code) && (code as number) >= 0 && (code as number) <= 16
}

/** Or none. */
export function isMetadata(metadata: unknown): boolean {
  return metadata === undefined || metadata === null || typeof (metadata as grpc.Metadata).toHttp2Headers === 'function'
}

/** Any text: a half of a surrogate pair is replaced, and what no header has room for is cut. */
function sendableDetails(details: unknown): string {
  const given = typeof details === 'string' ? details : String(details ?? '')
  // A code unit has three bytes of UTF-8 at most, and each of them is three characters.
  if (given.length * 9 <= LONGEST_DETAILS) return given.toWellFormed()
  const text = given.slice(0, LONGEST_DETAILS + 1).toWellFormed()
  if (encodeURI(text).length <= LONGEST_DETAILS) return text
  let from = 0
  let to = text.length
  while (from < to) {
    const middle = Math.ceil((from + to) / 2)
    if (encodeURI(text.slice(0, middle).toWellFormed()).length <= LONGEST_DETAILS - ELLIPSIS) from = middle
    else to = middle - 1
  }
  const cut = text.slice(0, from)
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}

/** Of `…`, percent-encoded. */
const ELLIPSIS = 9

/** Whose head and trailers they are. */
export interface HeadersOwner {
  /** They cannot be sent; the caller gets UNKNOWN. */
  headersFailed(error: unknown): void
}

const OWNER = Symbol('inmesh.headers')

type Guarded = ServerHttp2Stream & { [OWNER]?: HeadersOwner }

/** From now on a head or trailers that HTTP/2 refuses are answered with UNKNOWN. */
export function guardHeaders(stream: ServerHttp2Stream, owner: HeadersOwner): void {
  ;(stream as Guarded)[OWNER] = owner
  stream.respond = respondGuarded
  stream.sendTrailers = sendTrailersGuarded
}

function respondGuarded(this: Guarded, headers?: OutgoingHttpHeaders, options?: ServerStreamResponseOptions): void {
  const { respond } = inherited(this)
  try {
    assertSize(headers ?? {})
    respond.call(this, headers, options)
  } catch (error) {
    this[OWNER]?.headersFailed(error)
    if (!this.destroyed && !this.closed && !this.headersSent) {
      const head = { ':status': 200, 'content-type': 'application/grpc+proto', ...UNKNOWN }
      respond.call(this, head, { endStream: true })
      this.resume()
    }
  }
}

function sendTrailersGuarded(this: Guarded, trailers: OutgoingHttpHeaders): void {
  const { sendTrailers } = inherited(this)
  try {
    assertSize(trailers)
    sendTrailers.call(this, trailers)
  } catch (error) {
    this[OWNER]?.headersFailed(error)
    if (!this.destroyed && !this.closed) sendTrailers.call(this, { ...UNKNOWN })
  }
}

const UNKNOWN = Object.freeze({ 'grpc-status': '2', 'grpc-message': encodeURI(UNKNOWN_ERROR) })

function inherited(stream: ServerHttp2Stream): ServerHttp2Stream {
  return Object.getPrototypeOf(stream) as ServerHttp2Stream
}

/** Node would close the stream without a word. */
function assertSize(headers: OutgoingHttpHeaders): void {
  let bytes = 0
  for (const name in headers) {
    const value = headers[name]
    if (Array.isArray(value)) for (const each of value) bytes += name.length + each.length + ENTRY_BYTES
    else bytes += name.length + String(value).length + ENTRY_BYTES
  }
  if (bytes > MOST_HEADER_BYTES)
    throw new RangeError(`${bytes} bytes of metadata; at most ${MOST_HEADER_BYTES} can be sent`)
}

/** What every entry counts besides its text (RFC 9113, 6.5.2). */
const ENTRY_BYTES = 32
