/**
 * The library's one error class and its stable codes, which metrics and events share.
 */
import { inspect, types } from 'node:util'

/**
 * Why a call, an attempt or an operation of the mesh failed. The codes are stable.
 *
 * Local refusals, nothing was sent: `no-endpoints`, `circuit-open`, `concurrency-limited`,
 * `rate-limited`, `global-rate-limited`, `throttled`, `queue-full`. Time: `deadline-exceeded`,
 * `attempt-timeout`. The caller gave up: `cancelled`. On the way: `connect-failed` (nothing was
 * sent), `identity-rejected` (a certificate was refused, ours or the peer's; nothing was
 * executed), `connection-lost`, `protocol-error`. The peer said so: `refused-by-peer` (not
 * executed), `overloaded` (429, 503), `server-error` (other 5xx), `permission-denied` (403 by an
 * intention), `response-too-large`. A guarded function threw, or its `isFailure` or `key` did:
 * `function-failed`. Around calls: `invalid-options`, `registry-unavailable`, `registry-refused`,
 * `join-refused`, `not-in-mesh`, `closed`.
 */
export type ErrorCode =
  | 'no-endpoints'
  | 'circuit-open'
  | 'concurrency-limited'
  | 'rate-limited'
  | 'global-rate-limited'
  | 'throttled'
  | 'queue-full'
  | 'deadline-exceeded'
  | 'attempt-timeout'
  | 'cancelled'
  | 'connect-failed'
  | 'identity-rejected'
  | 'connection-lost'
  | 'protocol-error'
  | 'refused-by-peer'
  | 'overloaded'
  | 'server-error'
  | 'permission-denied'
  | 'response-too-large'
  | 'function-failed'
  | 'invalid-options'
  | 'registry-unavailable'
  | 'registry-refused'
  | 'join-refused'
  | 'not-in-mesh'
  | 'closed'

/** One attempt as an error reports it. */
export interface AttemptReport {
  /** `address:port`, if one was chosen. */
  readonly endpoint: string | undefined
  readonly durationMs: number
  readonly code: ErrorCode | undefined
  readonly status: number | undefined
}

/** Everything a {@link MeshError} may carry besides its message. */
export interface MeshErrorDetails {
  readonly code: ErrorCode
  readonly service?: string | undefined
  readonly method?: string | undefined
  readonly route?: string | undefined
  readonly endpoint?: string | undefined
  readonly attempts?: readonly AttemptReport[] | undefined
  readonly elapsedMs?: number | undefined
  readonly sent?: boolean | undefined
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

const NONE: readonly AttemptReport[] = []

/** Logs cut an error at the second level, which would show `[Object]`. JSON stays as it is. */
function inspectable(report: AttemptReport): AttemptReport {
  return Object.defineProperty({ ...report }, inspect.custom, { value: onOneLine })
}

function onOneLine(this: AttemptReport): string {
  const { endpoint = 'no endpoint', durationMs, code = 'success', status } = this
  const answer = status === undefined ? '' : ` ${status}`
  return `<${endpoint}${answer} ${code} in ${Math.round(durationMs * 10) / 10} ms>`
}

const BRAND = Symbol.for('inmesh.MeshError')

/**
 * The only error that inmesh throws for something that went wrong at run time. Wrong options are a
 * `TypeError` with the field's name (see `OptionsError`), thrown when the options are given.
 *
 * @example
 * ```ts
 * try {
 *   await mesh.fetch('http://inventory/items/42', { method: 'POST', body })
 * } catch (error) {
 *   if (isMeshError(error) && !error.sent) queueForLater() // certainly not executed
 * }
 * ```
 */
export class MeshError extends Error {
  override readonly name = 'MeshError'
  /** Why; stable. */
  readonly code: ErrorCode
  /** The service that was called, or that this is about. */
  readonly service: string | undefined
  /** `GET`, or the full name of a gRPC method. */
  readonly method: string | undefined
  /** The route of the service's document that was chosen; `undefined`: none. */
  readonly route: string | undefined
  /** `address:port` of the last attempt. */
  readonly endpoint: string | undefined
  /** All attempts, in order. */
  readonly attempts: readonly AttemptReport[]
  /** From the call's begin to this error. */
  readonly elapsedMs: number
  /** May a peer have acted on the request? `false` means: certainly not. */
  readonly sent: boolean
  /**
   * After how many ms another call may succeed: until an open circuit admits a probe, until a rate
   * limit admits again, or what the peer asked for (`retry-after`). `undefined`: not known.
   */
  readonly retryAfterMs: number | undefined

  constructor(message: string, details: MeshErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = details.code
    this.service = details.service
    this.method = details.method
    this.route = details.route
    this.endpoint = details.endpoint
    this.attempts = (details.attempts ?? NONE).map(inspectable)
    this.elapsedMs = details.elapsedMs ?? 0
    this.sent = details.sent ?? false
    this.retryAfterMs = details.retryAfterMs
  }

  get [BRAND](): true {
    return true
  }

  /**
   * Where the documentation in the package explains the code, such as
   * `inmesh/docs/errors.md#circuit-open`.
   */
  get help(): string {
    return `inmesh/docs/errors.md#${this.code}`
  }

  /** A plain object for logs: no stack, the cause by its message. */
  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      message: this.message,
      service: this.service,
      method: this.method,
      route: this.route,
      endpoint: this.endpoint,
      attempts: this.attempts,
      elapsedMs: this.elapsedMs,
      sent: this.sent,
      retryAfterMs: this.retryAfterMs,
      cause: messageOf(this.cause),
    }
  }
}

/** True for errors of other realms, too: those of Node inside Jest or a `node:vm` context. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value)
}

/**
 * The message of an error; `undefined` for other values. Reading a cause may itself throw.
 */
export function messageOf(cause: unknown): string | undefined {
  try {
    return isError(cause) ? String(cause.message) : undefined
  } catch {
    return undefined
  }
}

/** True for a {@link MeshError} of any copy of this library. */
export function isMeshError(value: unknown): value is MeshError {
  if (typeof value !== 'object' || value === null) return false
  try {
    return BRAND in value
  } catch {
    // A revoked Proxy, as sandboxes and immer leave behind.
    return false
  }
}

/** Fields in which clients keep the error that they wrap. */
const WRAPPED = ['cause', 'networkError', 'originalError'] as const
const MOST_WRAPPED = 16

/**
 * The {@link MeshError} that a client has wrapped: in `cause` (axios, got, gRPC's `ServiceError`,
 * connect-es, tRPC, a `TypeError` of the built-in `fetch`), in `networkError` (Apollo, urql), or
 * among the `errors` of an `AggregateError`. `undefined`: there is none.
 *
 * @example
 * ```ts
 * try {
 *   await axios.post('http://inventory.mesh/reservations', order, { httpAgent: mesh.agent() })
 * } catch (error) {
 *   if (meshErrorOf(error)?.sent === false) queueForLater() // certainly not executed
 * }
 * ```
 */
export function meshErrorOf(error: unknown): MeshError | undefined {
  return meshErrorIn(error, () => false)
}

/** @internal As {@link meshErrorOf}; what an error wraps for which `hides` is true stays unseen. */
export function meshErrorIn(error: unknown, hides: (error: object) => boolean): MeshError | undefined {
  const seen = new Set<unknown>()
  const open = [error]
  for (let next = open.shift(); next !== undefined && seen.size < MOST_WRAPPED; next = open.shift()) {
    if (isMeshError(next)) return next
    if (typeof next !== 'object' || next === null || seen.has(next) || hides(next)) continue
    seen.add(next)
    for (const field of WRAPPED) open.push(fieldOf(next, field) ?? null)
    const errors = fieldOf(next, 'errors')
    if (Array.isArray(errors)) open.push(...errors.slice(0, MOST_WRAPPED).map((each) => each ?? null))
  }
  return undefined
}

/** @internal Anything may be thrown, and a getter of it may throw. */
export function fieldOf(value: unknown, name: string): unknown {
  try {
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
  } catch {
    return undefined
  }
}

/** Whether a call was cancelled because its own or its parent's time is up. */
export function isLate(cause: unknown): boolean {
  return isMeshError(cause) && cause.code === 'deadline-exceeded'
}

/** What a thrown value says, in words. Anything may be thrown. */
export function reasonOf(error: unknown): string {
  return isError(error) ? error.message : String(error)
}
