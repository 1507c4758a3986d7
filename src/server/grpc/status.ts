/**
 * Makes a status sendable: a valid code, details that fit a header, and trailers that HTTP/2
 * accepts. Invalid ones end the call with UNKNOWN instead of the process.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { LOAD, ORCA_BIN } from '../../core/headers.ts'
import { formatLoad } from '../../core/load-header.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import type { AnswerLoad } from '../server-load.ts'
import type { HeadersOwner, ServedStream } from './served-stream.ts'

/** A status as grpc-js's handlers and interceptors pass it. */
export type PartialStatusObject = Parameters<Parameters<grpc.ServerInterceptor>[1]['sendStatus']>[0]

/** Percent-encoded. HTTP/2 peers commonly accept 64 KiB of headers. */
const MAX_DETAILS = 16 * 1024
/** All names and values together. */
const MAX_HEADER_BYTES = 60 * 1024

/** The details for an error that only the server's log may show. */
export const UNKNOWN_ERROR = 'Unknown error'

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

/** Absent metadata is valid. */
export function isMetadata(metadata: unknown): boolean {
  return metadata === undefined || metadata === null || typeof (metadata as grpc.Metadata).toHttp2Headers === 'function'
}

/** Replaces lone surrogates and truncates long text. */
function sendableDetails(details: unknown): string {
  const given = typeof details === 'string' ? details : String(details ?? '')
  // A code unit has at most three bytes of UTF-8, each of which is encoded as three characters.
  if (given.length * 9 <= MAX_DETAILS) return given.toWellFormed()
  const text = given.slice(0, MAX_DETAILS + 1).toWellFormed()
  if (encodeURI(text).length <= MAX_DETAILS) return text
  let from = 0
  let to = text.length
  while (from < to) {
    const middle = Math.ceil((from + to) / 2)
    if (encodeURI(text.slice(0, middle).toWellFormed()).length <= MAX_DETAILS - ELLIPSIS_LENGTH) from = middle
    else to = middle - 1
  }
  const cut = text.slice(0, from)
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}

/** Length of `…`, percent-encoded. */
const ELLIPSIS_LENGTH = 9

const OWNER = Symbol('inmesh.headers')

type Guarded = ServerHttp2Stream & { [OWNER]?: HeadersOwner }

/** From now on, headers or trailers that HTTP/2 rejects are replaced by UNKNOWN. */
export function guardHeaders(stream: ServedStream, owner: HeadersOwner): void {
  if ('headersOwner' in stream) {
    stream.headersOwner = owner
    return
  }
  const guarded = stream as Guarded
  guarded[OWNER] = owner
  guarded.respond = respondGuarded
  guarded.sendTrailers = sendTrailersGuarded
}

function respondGuarded(this: Guarded, headers?: OutgoingHttpHeaders, options?: ServerStreamResponseOptions): void {
  const { respond } = inherited(this)
  try {
    assertSize(headers ?? {})
    respond.call(this, headers, options)
  } catch (error) {
    this[OWNER]?.headersFailed(error)
    if (!this.destroyed && !this.closed && !this.headersSent) {
      const head = { ':status': 200, 'content-type': 'application/grpc+proto', ...UNKNOWN_TRAILERS }
      respond.call(this, head, { endStream: true })
      this.resume()
    }
  }
}

function sendTrailersGuarded(this: Guarded, trailers: OutgoingHttpHeaders): void {
  const { sendTrailers } = inherited(this)
  try {
    assertSize(trailers)
    const load = this[OWNER]?.loadReport()
    sendTrailers.call(this, load === undefined ? trailers : withLoad(trailers, load))
  } catch (error) {
    this[OWNER]?.headersFailed(error)
    if (!this.destroyed && !this.closed) sendTrailers.call(this, { ...UNKNOWN_TRAILERS })
  }
}

/** A handler that reports in the form of ORCA itself knows better. */
function withLoad(trailers: OutgoingHttpHeaders, { mesh, orca }: AnswerLoad): OutgoingHttpHeaders {
  const all = { ...trailers }
  if (mesh !== undefined) all[LOAD] = formatLoad(mesh)
  if (orca !== undefined) all[ORCA_BIN] ??= orca
  return all
}

export const UNKNOWN_TRAILERS = Object.freeze({ 'grpc-status': '2', 'grpc-message': encodeURI(UNKNOWN_ERROR) })

function inherited(stream: ServerHttp2Stream): ServerHttp2Stream {
  return Object.getPrototypeOf(stream) as ServerHttp2Stream
}

/** Node closes the stream silently if the headers are too long. */
function assertSize(headers: OutgoingHttpHeaders): void {
  let bytes = 0
  for (const name in headers) {
    const value = headers[name]
    if (Array.isArray(value)) for (const each of value) bytes += name.length + each.length + ENTRY_BYTES
    else bytes += name.length + String(value).length + ENTRY_BYTES
  }
  if (bytes > MAX_HEADER_BYTES)
    throw new RangeError(`${bytes} bytes of metadata; at most ${MAX_HEADER_BYTES} can be sent`)
}

/** Overhead of each entry (RFC 9113, 6.5.2). */
const ENTRY_BYTES = 32
