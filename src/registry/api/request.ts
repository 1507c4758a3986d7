/**
 * A request of the plain API, over HTTP/1.1 or HTTP/2: its body, its response and its source.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../core/clock.ts'
import { duplicateKey } from '../../discovery/registry/duplicate-key.ts'
import { plainAddress } from '../address-policy.ts'
import { ApiError } from './error.ts'
import { parseSafeJson } from './safe-json.ts'

export type IncomingRequest = IncomingMessage | Http2ServerRequest
export type OutgoingResponse = ServerResponse | Http2ServerResponse

const LONGEST_BODY = 1024 * 1024
const BODY_TIMEOUT_MS = 10_000
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function isHttp2(response: OutgoingResponse): response is Http2ServerResponse {
  return 'stream' in response
}

/** `host` or `:authority`. */
export function authorityOf(request: IncomingRequest): string {
  const header = request.headers[':authority'] ?? request.headers.host
  return typeof header === 'string' ? header : ''
}

export function sourceOf(socket: Pick<TLSSocket, 'remoteAddress'>): string {
  return plainAddress(socket.remoteAddress ?? 'unknown')
}

/**
 * The body as JSON; `undefined` if there is none. Throws `too-large`, `too-slow`,
 * `invalid-request`.
 */
export async function readJson(request: IncomingRequest, clock: Clock, longest = LONGEST_BODY): Promise<unknown> {
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new ApiError('invalid-request', `a body is read as it is, without Content-Encoding ${encoding.slice(0, 40)}`)
  }
  const text = decode(await readBody(request, clock, longest))
  if (text === '') return undefined
  let value: unknown
  try {
    value = parseSafeJson(text)
  } catch (error) {
    throw new ApiError('invalid-request', `the body is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
  const twice = duplicateKey(text)
  if (twice === undefined) return value
  throw new ApiError('invalid-request', `the body has the key '${twice.slice(0, 100)}' twice in one object`)
}

/** Lets a client send its body that waits for this. A stream that is gone by now says nothing. */
export function continueBody(response: OutgoingResponse): void {
  try {
    response.writeContinue()
  } catch {
    // Reset since.
  }
}

function decode(body: Buffer): string {
  try {
    return STRICT_UTF8.decode(body)
  } catch {
    // Replaced characters would make one text of two.
    throw new ApiError('invalid-request', 'the body is not UTF-8')
  }
}

function readBody(request: IncomingRequest, clock: Clock, longest: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const finish = (error?: ApiError): void => {
      clock.stopTimer(timer)
      request.off('data', onData)
      if (error === undefined) resolve(Buffer.concat(chunks))
      else reject(error)
    }
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (size > longest)
        finish(new ApiError('too-large', `the body is larger than ${longest} bytes, the most allowed here`))
      else chunks.push(chunk)
    }
    const timer = clock.startBackgroundTimer(
      BODY_TIMEOUT_MS,
      () => finish(new ApiError('too-slow', `the body did not come within ${BODY_TIMEOUT_MS} ms`)),
      undefined,
    )
    request.on('data', onData)
    request.once('end', () => finish())
    request.once('error', () => finish(new ApiError('invalid-request', 'the request was broken off')))
    request.once('close', () => finish(new ApiError('invalid-request', 'the request was broken off')))
  })
}

/** What every answer says to browsers: believe only what is said here. */
const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  'x-frame-options': 'DENY',
  'cross-origin-resource-policy': 'same-origin',
} as const

export function sendText(
  response: OutgoingResponse,
  status: number,
  contentType: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.writableEnded) return
  const all = { ...HEADERS, 'content-type': contentType, 'content-length': String(Buffer.byteLength(text)), ...headers }
  // One signature for both kinds of response; the overloads of the two do not meet.
  ;(response as ServerResponse).writeHead(status, all)
  ;(response as ServerResponse).end(text)
}

/** A file, under the headers of every answer or stricter ones. */
export function sendBytes(
  response: OutgoingResponse,
  status: number,
  contentType: string,
  bytes: Buffer,
  headers: Readonly<Record<string, string>>,
): void {
  const all = { ...HEADERS, 'content-type': contentType, 'content-length': String(bytes.length), ...headers }
  ;(response as ServerResponse).writeHead(status, all)
  ;(response as ServerResponse).end(bytes)
}

export function sendJson(
  response: OutgoingResponse,
  status: number,
  body: unknown,
  headers?: Readonly<Record<string, string>>,
): void {
  sendText(response, status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`, headers)
}

/** An answer that goes on: the head now, the lines as they come. */
export function beginStream(response: OutgoingResponse, contentType: string): void {
  ;(response as ServerResponse).writeHead(200, { ...HEADERS, 'content-type': contentType })
}

export function sendError(request: IncomingRequest, response: OutgoingResponse, error: ApiError): void {
  const headers: Record<string, string> = {}
  if (error.status === 429 || error.status === 503) headers['retry-after'] = '1'
  // A body that was not read to its end would be taken for the next request.
  if (!isHttp2(response) && !request.complete) headers.connection = 'close'
  sendJson(response, error.status, error, headers)
}

/**
 * The path and the query that were asked for, as they were sent: a path that is made plain first is
 * another one to a proxy on the way.
 * @throws ApiError `invalid-request`
 */
export function urlOf(request: IncomingRequest): URL {
  const target = request.url ?? '/'
  const path = target.split('?', 1)[0]!
  try {
    const url = new URL(`https://registry${target}`)
    if (path.startsWith('/') && !path.startsWith('//') && url.pathname === path && url.hash === '') return url
  } catch {
    // Refused as what is no plain path.
  }
  throw new ApiError('invalid-request', 'the request target is no plain path')
}
