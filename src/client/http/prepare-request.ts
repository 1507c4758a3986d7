/**
 * A request, from what its caller gives to what each attempt writes. It is validated once per call,
 * for all doors.
 */
import { isUint8Array } from 'node:util/types'
import type { Dispatcher } from 'undici'
import type { Attempt } from '../../core/attempt.ts'
import { isPropagated, writeCarrier } from '../../core/carrier.ts'
import { lengthOf } from '../../core/digits.ts'
import { APPENDING, REPLACING, removeHeader } from '../../core/flat-carrier.ts'
import { FROM_MESH } from '../../core/headers.ts'
import type { RequestHead } from '../../core/request-head.ts'
import { MUX } from '../../core/transport.ts'
import { parseDuration } from '../../options/duration.ts'
import { OptionsError, show } from '../../options/fields.ts'
import type { RequestBody } from './body/request.ts'
import { fieldValue, flatHeader, flattenHeaders, type HeadersInput } from './headers.ts'

export const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])
const COMMON_METHODS: ReadonlySet<string> = new Set([...IDEMPOTENT_METHODS, 'POST', 'PATCH'])
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/
/**
 * Printable, without spaces and fragment: anything else would split the request line or never reach
 * the server.
 */
const PATH = /^\/[\x21\x22\x24-\x7e\x80-\xff]*$/

/** The method in capitals. @throws OptionsError */
export function checkMethod(method: string): string {
  if (COMMON_METHODS.has(method)) return method
  const upper = typeof method === 'string' ? method.toUpperCase() : ''
  if (!TOKEN.test(upper) || upper === 'CONNECT') {
    throw new OptionsError('request', [
      { path: ['method'], message: `expected an HTTP method such as 'GET', got ${show(method)}` },
    ])
  }
  return upper
}

/** @throws OptionsError */
export function checkPath(path: string): string {
  if (typeof path !== 'string' || !PATH.test(path)) {
    throw new OptionsError('request', [
      {
        path: ['path'],
        message: `expected a path that begins with '/', percent-encoded and without '#', got ${show(path)}`,
      },
    ])
  }
  return path
}

/** How long a reader may take nothing, in ms. @throws OptionsError */
export function checkIdleTimeout(idleTimeout: unknown): number {
  const ms = parseDuration(idleTimeout)
  if (ms !== undefined && ms >= 10 && ms <= LONGEST_IDLE_MS) return ms
  const message = `expected a duration from 10 ms to 24 h, as milliseconds or as text such as '60s', got ${show(idleTimeout)}`
  throw new OptionsError('request', [{ path: ['idleTimeout'], message }])
}

export const LONGEST_IDLE_MS = 86_400_000

/** Checked and ready to be written. */
export class PreparedRequest implements RequestHead {
  readonly method: string
  readonly path: string
  /** `[name, value, ...]`, names in lower case. */
  readonly headers: string[]
  readonly body: RequestBody | undefined
  /** The connection ends with the exchange. */
  readonly reset: boolean
  /** The host that the service sees. `undefined`: its own name. */
  readonly host: string | undefined
  /** The protocol to which the connection changes, such as `websocket`. */
  upgrade: string | undefined = undefined
  /** As the caller gave it; `undefined`: no route has changed it. */
  original: PreparedRequest | undefined = undefined
  /** A URL with the scheme, host and port that the caller wrote; `undefined`: the door has none. */
  origin: string | URL | undefined = undefined

  constructor(
    method: string,
    path: string,
    headers: string[],
    body: RequestBody | undefined,
    reset = false,
    host?: string,
  ) {
    this.method = method
    this.path = path
    this.headers = headers
    this.body = body
    this.reset = reset
    this.host = host
  }

  /** A copy with other parts. */
  with(parts: Partial<Pick<PreparedRequest, 'path' | 'headers' | 'body' | 'host'>>): PreparedRequest {
    const { path, headers, body, host } = { ...this, ...parts }
    const copy = new PreparedRequest(this.method, path, headers, body, this.reset, host)
    copy.original = this.original
    copy.origin = this.origin
    copy.upgrade = this.upgrade
    return copy
  }

  header(name: string): string | undefined {
    return fieldValue(this.headers, name)
  }
}

/** @throws OptionsError naming the header that is wrong. */
export function prepareRequest(
  method: string,
  path: string,
  headers: HeadersInput | undefined,
  body: RequestBody | undefined,
  reset?: boolean,
): PreparedRequest {
  const flat = headers === undefined ? [] : flattenHeaders(headers)
  const unknown = body !== undefined && body.length === undefined && !isUint8Array(body.content)
  // A known length is known better here; a stream's declared length is kept, and undici holds the
  // stream to it.
  if (!unknown) removeHeader(flat, 'content-length')
  else checkLength(flatHeader(flat, 'content-length'))
  if (body !== undefined) {
    if (body.contentType !== undefined && flatHeader(flat, 'content-type') === undefined) {
      flat.push('content-type', body.contentType)
    }
    if (body.length !== undefined && flatHeader(flat, 'content-length') === undefined) {
      flat.push('content-length', String(body.length))
    }
  }
  return new PreparedRequest(method, path, flat, body, reset)
}

function checkLength(length: string | undefined): void {
  if (length === undefined || lengthOf(length) >= 0) return
  throw new OptionsError('request', [
    { path: ['headers', 'content-length'], message: `expected a number of bytes, got ${show(length)}` },
  ])
}

/**
 * Whether a second execution does no harm, by the method or by a key that lets the service tell.
 * `headers`: flat, in lower case.
 */
export function isIdempotent(method: string, headers: readonly string[]): boolean {
  return IDEMPOTENT_METHODS.has(method) || hasIdempotencyKey(headers)
}

/**
 * A value that only reads like the name is none, and an empty key tells two executions apart from
 * nothing.
 */
function hasIdempotencyKey(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === 'idempotency-key' && headers[i + 1]!.trim() !== '') return true
  }
  return false
}

/** `?a=1&a=2` from `{ a: [1, 2] }`; `undefined` values are left out. @throws OptionsError */
export function withQuery(path: string, query: QueryInput | undefined): string {
  if (query === undefined) return path
  if (typeof query !== 'object' || query === null) throw wrongQuery([], 'an object or URLSearchParams', query)
  const search = new URLSearchParams()
  if (Symbol.iterator in query) {
    // URLSearchParams, also of another realm, and lists of pairs.
    for (const pair of query as Iterable<unknown>) {
      if (!Array.isArray(pair) || pair.length !== 2) throw wrongQuery([], '[name, value] pairs', pair)
      search.append(String(pair[0]), queryText(String(pair[0]), pair[1]))
    }
  } else {
    for (const [name, value] of Object.entries(query)) {
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one !== undefined) search.append(name, queryText(name, one))
      }
    }
  }
  const text = search.toString()
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`
}

function queryText(name: string, value: unknown): string {
  const type = typeof value
  if (type === 'string' || type === 'number' || type === 'boolean' || type === 'bigint') return String(value)
  throw wrongQuery([name], 'text, a number, true, false or a list of them', value)
}

function wrongQuery(path: string[], expected: string, value: unknown): OptionsError {
  return new OptionsError('request', [
    { path: ['query', ...path], message: `expected ${expected}, got ${show(value)}` },
  ])
}

export type QueryValue = string | number | boolean | undefined

export type QueryInput = URLSearchParams | Readonly<Record<string, QueryValue | readonly QueryValue[]>>

/** All headers of one attempt. `request` is not changed: the next attempt needs it again. */
export function attemptHeaders(
  attempt: Attempt,
  {
    headers: given,
    host,
    upgrade,
  }: Pick<PreparedRequest, 'headers' | 'host'> & Partial<Pick<PreparedRequest, 'upgrade'>>,
  now: number,
): string[] {
  const { kind, deadlineAt } = attempt.call
  const flat = ['host', host ?? kind.service]
  let setter = APPENDING
  for (let i = 0; i < given.length; i += 2) {
    const name = given[i]!
    if (isPropagated(name)) setter = REPLACING
    flat.push(name, given[i + 1]!)
  }
  // The deadline bounds only the head of a streaming response; the callee would cut its body off.
  // After the handshake of an upgrade, it binds no callee.
  const endless = kind.streaming && upgrade === undefined
  writeCarrier(setter, flat, attempt, endless ? Number.POSITIVE_INFINITY : deadlineAt, now)
  if (endless && attempt.transport !== MUX) flat.push(FROM_MESH, '1')
  return flat
}

/** What is dispatched: `request` as `attempt` sends it. */
export function dispatchOptions(
  attempt: Attempt,
  { path, method, reset }: PreparedRequest,
  headers: string[],
  content: RequestBody['content'] | null | undefined,
  upgrade?: string,
): Dispatcher.DispatchOptions {
  return {
    path,
    method,
    headers,
    body: (content ?? null) as Buffer | null,
    blocking: false,
    reset,
    upgrade,
    // The socket is already open. Without a name, undici would parse one from the host header.
    servername: attempt.call.kind.service,
  } as Dispatcher.DispatchOptions
}
