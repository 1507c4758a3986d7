/**
 * The answer to our caller when a call that we made has failed: a status and a problem document
 * (RFC 9457). The table in `docs/errors.md` shows this one.
 */
import { type ErrorCode, fieldOf, MeshError, meshErrorIn } from '../../core/errors.ts'

/** One type of problem. */
export interface ProblemType {
  /** The identifier, behind {@link TYPE_PREFIX}. `undefined`: `about:blank`. */
  readonly name: string | undefined
  readonly status: number
  /** The same for each occurrence (RFC 9457, 3.1.3). */
  readonly title: string
}

export const TYPE_PREFIX = 'urn:inmesh:problem:'

const UNAVAILABLE: ProblemType = {
  name: 'dependency-unavailable',
  status: 503,
  title: 'A service that this one needs is unavailable',
}
const TIMEOUT: ProblemType = {
  name: 'dependency-timeout',
  status: 504,
  title: 'A service that this one needs did not answer in time',
}
/** Also what it denies to us: our caller is not the one that may not. */
const FAILED: ProblemType = { name: 'dependency-failed', status: 502, title: 'A service that this one needs failed' }
const LEAVING: ProblemType = { name: 'leaving', status: 503, title: 'This instance is shutting down' }
const INVALID_TOKEN: ProblemType = { name: 'invalid-token', status: 401, title: 'The token is not valid here' }
/** A mistake of this program, which its caller cannot act on. */
const INTERNAL: ProblemType = { name: undefined, status: 500, title: 'Internal Server Error' }

/** By the code of the error. No entry depends on what a peer chose to say. */
const TYPES: Readonly<Record<ErrorCode, ProblemType>> = Object.freeze({
  'no-endpoints': UNAVAILABLE,
  'circuit-open': UNAVAILABLE,
  'concurrency-limited': UNAVAILABLE,
  'rate-limited': UNAVAILABLE,
  'global-rate-limited': UNAVAILABLE,
  throttled: UNAVAILABLE,
  'queue-full': UNAVAILABLE,
  'deadline-exceeded': TIMEOUT,
  'attempt-timeout': TIMEOUT,
  cancelled: INTERNAL,
  'connect-failed': UNAVAILABLE,
  'identity-rejected': FAILED,
  'connection-lost': FAILED,
  'protocol-error': FAILED,
  'refused-by-peer': UNAVAILABLE,
  overloaded: UNAVAILABLE,
  'server-error': FAILED,
  'permission-denied': FAILED,
  'response-too-large': FAILED,
  'function-failed': INTERNAL,
  'invalid-options': INTERNAL,
  'registry-unavailable': UNAVAILABLE,
  'registry-refused': INTERNAL,
  'join-refused': INTERNAL,
  'not-in-mesh': INTERNAL,
  closed: LEAVING,
})

/** @internal The type of problem that `error` is to our caller. */
export function problemType({ code, cause }: Pick<MeshError, 'code' | 'cause'>): ProblemType {
  // `AbortSignal.timeout()` aborts with this name.
  if (code === 'cancelled' && fieldOf(cause, 'name') === 'TimeoutError') return TIMEOUT
  // `mesh.verifyToken`: the verdict on the token that our caller sent.
  if (code === 'identity-rejected' && fieldOf(cause, 'ok') === false) return INVALID_TOKEN
  // A newer copy of the library may have other codes.
  return Object.hasOwn(TYPES, code) ? TYPES[code] : INTERNAL
}

/** A problem document (RFC 9457). */
export interface ProblemDocument {
  /** `urn:inmesh:problem:dependency-unavailable` and so on, or `about:blank`. */
  readonly type: string
  readonly title: string
  readonly status: number
  /** With `expose`: the message of the error. */
  readonly detail?: string
  /** With `expose`: the code of the error. */
  readonly code?: ErrorCode
  /** With `expose`: the service that was called. */
  readonly service?: string
  /** With `expose`: `GET`, or the full name of a gRPC method. */
  readonly method?: string
}

/** An answer to send; made by {@link problemOf}. */
export interface Problem {
  readonly status: number
  /** `content-type`, and `retry-after` or `www-authenticate` where they apply; lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The document as JSON. */
  readonly body: string
  readonly document: ProblemDocument
  /** The error that was found, which may be the cause of the one given. */
  readonly error: MeshError
}

/** What a problem document shows. */
export interface ProblemOptions {
  /**
   * Adds `detail`, `code`, `service` and `method`, which name services and addresses inside. For
   * development, and for callers that may know them. @defaultValue `false`
   */
  readonly expose?: boolean
}

/**
 * The answer to our caller for an error of the mesh: a status, headers and a problem document (RFC
 * 9457) by one table (`docs/errors.md`). `undefined` for every other error. Never throws.
 *
 * It takes a `MeshError`, the error of a client that wraps one (as `meshErrorOf` finds it), unless
 * that has an HTTP status itself, and the error that axios, got, ky and superagent make of an
 * answer with a status from 400: 503 for 429 and 503, 504 for 504, 502 for others. The answer
 * says nothing of addresses, services and identities without `expose`, and never claims that the
 * request was not executed: what is safe to repeat here is not safe above.
 *
 * @example
 * ```ts
 * http.createServer(async (request, response) => {
 *   try {
 *     response.end(await (await mesh.fetch('http://inventory/items/42')).text())
 *   } catch (error) {
 *     const problem = problemOf(error)
 *     if (problem === undefined) throw error
 *     response.writeHead(problem.status, problem.headers).end(problem.body)
 *   }
 * })
 * ```
 */
export function problemOf(error: unknown, options: ProblemOptions = {}): Problem | undefined {
  const found = failedAnswer(error) ?? meshErrorIn(error, hasStatus)
  if (found === undefined) return undefined
  const { name, status, title } = problemType(found)
  const type = name === undefined ? 'about:blank' : `${TYPE_PREFIX}${name}`
  const { message, code, service, method } = found
  const document: ProblemDocument = {
    type,
    title,
    status,
    ...(options.expose === true && {
      detail: message,
      code,
      ...(service !== undefined && { service }),
      ...(method !== undefined && { method }),
    }),
  }
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' }
  const { retryAfterMs } = found
  if (status === 503 && retryAfterMs !== undefined) headers['retry-after'] = wholeSeconds(retryAfterMs)
  if (status === 401) headers['www-authenticate'] = 'Bearer error="invalid_token"'
  return { status, headers, document, body: JSON.stringify(document), error: found }
}

/**
 * For what axios, got, ky and superagent throw when a service has answered with a failure. Some
 * give their error its status, with which a framework would answer our caller.
 */
function failedAnswer(error: unknown): MeshError | undefined {
  const response = fieldOf(error, 'response')
  const status = fieldOf(response, 'status') ?? fieldOf(response, 'statusCode')
  // An HttpException of Nest has a `response` as well, without headers.
  const isAnswer = typeof status === 'number' && typeof fieldOf(response, 'headers') === 'object'
  if (!isAnswer || status < 400 || status > 599) return undefined
  const code = status === 429 || status === 503 ? 'overloaded' : status === 504 ? 'deadline-exceeded' : 'server-error'
  return new MeshError(`a service that this one needs has answered with status ${status}`, { code, cause: error })
}

/** An application's error that has chosen its status keeps it. */
function hasStatus(error: object): boolean {
  return typeof fieldOf(error, 'status') === 'number' || typeof fieldOf(error, 'statusCode') === 'number'
}

/** `retry-after` has no smaller unit. */
function wholeSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1_000)))
}
