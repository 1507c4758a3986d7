/**
 * Validates the request head before authorization. Rejects anything two parsers could read
 * differently.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { parseTimeoutHeader } from '../../core/deadline.ts'
import { AMBIGUOUS, readPath, withPath } from '../../net/request-path.ts'
import type { EventSink } from '../../telemetry/events.ts'
import type { RequestHead } from '../authorization/authorizer.ts'
import { type HeaderScan, scanHeaders } from './headers.ts'
import { isHost } from './host-header.ts'
import { refuse } from './response.ts'

/** A valid head. */
export class HttpRequestHead implements RequestHead {
  readonly path: string
  readonly timeoutMs: number | undefined
  readonly scan: HeaderScan
  readonly #request: IncomingMessage

  constructor(request: IncomingMessage, path: string, timeoutMs: number | undefined, scan: HeaderScan) {
    this.path = path
    this.timeoutMs = timeoutMs
    this.scan = scan
    this.#request = request
  }

  get method(): string {
    return this.#request.method ?? 'GET'
  }

  get target(): string {
    return this.#request.url ?? ''
  }

  /** Node builds them when they are first read. */
  get headers(): IncomingHttpHeaders {
    return this.#request.headers
  }
}

function isChunked({ transferEncoding, contentLength }: HeaderScan, request: IncomingMessage): boolean {
  return transferEncoding!.trim().toLowerCase() === 'chunked' && !contentLength && request.httpVersionMinor > 0
}

/** Answers a malformed request itself, and returns `undefined`. */
export function readHead(
  maxHeaders: number,
  events: EventSink,
  request: IncomingMessage,
  response: ServerResponse,
): HttpRequestHead | undefined {
  const scan = scanHeaders(request)
  const url = request.url ?? ''
  const path = url === '*' && request.method === 'OPTIONS' ? AMBIGUOUS : readPath(url)
  const timeoutMs = parseTimeoutHeader(scan.timeout)
  let status = 400
  let mistake: string | undefined
  if (request.httpVersionMajor !== 1) {
    // Node's parser reads HTTP/0.9 and HTTP/2.0 by the rules of HTTP/1.0.
    status = 505
    mistake = 'Only HTTP/1.1 and HTTP/1.0 are accepted.'
  } else if (scan.count > maxHeaders) {
    status = 431
    mistake = `The request has ${scan.count} header lines; at most ${maxHeaders} are allowed.`
  } else if (scan.hosts > 1) mistake = 'The request has several Host headers.'
  else if (scan.host === undefined ? request.httpVersionMinor > 0 : !isHost(scan.host)) {
    mistake = 'The header Host is missing or names no host: a name or an IP address, and a port if it has one.'
  } else if (scan.transferEncoding !== undefined && !isChunked(scan, request)) {
    status = request.httpVersionMinor === 0 || scan.contentLength ? 400 : 501
    mistake =
      'The length of the body is ambiguous: send Content-Length or, over HTTP/1.1, `Transfer-Encoding: chunked`, not both.'
  } else if (path === undefined) {
    mistake =
      'The request target is no plain path: dot segments, escaped slashes, control characters and full URLs are refused.'
  } else if (timeoutMs === 'malformed') mistake = 'The header inmesh-timeout-ms is no number of milliseconds.'
  if (mistake === undefined) {
    request.url = withPath(url, path!)
    return new HttpRequestHead(request, path!, timeoutMs as number | undefined, scan)
  }
  refuseHead(events, request, response, mistake, status)
  return undefined
}

export function refuseHead(
  events: EventSink,
  request: IncomingMessage,
  response: ServerResponse,
  message: string,
  status = 400,
): void {
  events.emit('admission:refused', { side: 'server', code: 'protocol-error' })
  refuse(request, response, { status, code: 'protocol-error', message, close: true })
}
