/**
 * Maps the answer of a peer to an outcome, and an error code to a gRPC status. What an error is to
 * our own caller by HTTP is in `src/server/http/problem.ts`.
 */
import type { ErrorCode } from './errors.ts'
import { type Outcome, outcome, SUCCESS } from './outcome.ts'

/** A peer's wish beyond this is not believed (linkerd2-proxy's cap). */
const LONGEST_RETRY_AFTER_MS = 300_000

/**
 * `retry-after` in seconds or as an HTTP date (RFC 9110, 10.2.3), in ms; `undefined` if absent or
 * unreadable.
 */
export function parseRetryAfter(header: string | undefined, wallNow: number): number | undefined {
  if (header === undefined) return undefined
  if (/^\d{1,9}$/.test(header)) return Math.min(Number(header) * 1000, LONGEST_RETRY_AFTER_MS)
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - wallNow), LONGEST_RETRY_AFTER_MS)
}

/**
 * `notExecuted`: the peer marked its answer so (`inmesh-not-executed`), which makes it safe to try
 * elsewhere. 4xx is the caller's own mistake and says nothing bad of the peer, except 429, which
 * says it is overloaded.
 */
export function httpOutcome(status: number, notExecuted: boolean, retryAfterMs: number | undefined): Outcome {
  if (status < 500 && status !== 429 && !notExecuted) return SUCCESS
  if (notExecuted) {
    // Denied by an intention: every other instance would deny it, too.
    const refusal = status === 403 ? 'permission-denied' : 'refused-by-peer'
    return outcome('refused', refusal, undefined, status, retryAfterMs)
  }
  const code = status === 429 || status === 503 ? 'overloaded' : 'server-error'
  return outcome('failure', code, undefined, status, retryAfterMs)
}

/**
 * The codes of gRPC (https://grpc.io/docs/guides/status-codes/), by the names that documents and
 * code use.
 */
export const GRPC_STATUS = Object.freeze({
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} satisfies Record<GrpcStatusName | 'OK', number>)

const NAMES = Object.keys(GRPC_STATUS)

/** The name of a status; of one that gRPC does not have, its number. */
export function grpcStatusName(status: number): string {
  return NAMES[status] ?? String(status)
}

/** The name of a status of gRPC other than OK. */
export type GrpcStatusName =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED'

/** All but OK. */
export const GRPC_STATUS_NAMES = Object.freeze(Object.keys(GRPC_STATUS).slice(1)) as readonly GrpcStatusName[]

/**
 * What a client of gRPC makes of an answer without a gRPC status
 * (https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html).
 */
export function grpcStatusOfHttp(status: number): number {
  switch (status) {
    case 400:
      return GRPC_STATUS.INTERNAL
    case 401:
      return GRPC_STATUS.UNAUTHENTICATED
    case 403:
      return GRPC_STATUS.PERMISSION_DENIED
    case 404:
      return GRPC_STATUS.UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return GRPC_STATUS.UNAVAILABLE
    default:
      return GRPC_STATUS.UNKNOWN
  }
}

/**
 * Statuses that say something bad of the peer; the rest are answers to what the caller asked, like
 * 4xx. ABORTED is one of those: the transaction lost, and is to be begun again from above, not sent
 * again as it is.
 */
export const GRPC_FAILURES: readonly GrpcFailure[] = Object.freeze([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
])

/** The name of a status that says something bad of the peer. */
export type GrpcFailure =
  | 'UNKNOWN'
  | 'DEADLINE_EXCEEDED'
  | 'RESOURCE_EXHAUSTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'

const FAILED: ReadonlySet<number> = new Set(GRPC_FAILURES.map((name) => GRPC_STATUS[name]))
const BUSY: ReadonlySet<number> = new Set([GRPC_STATUS.RESOURCE_EXHAUSTED, GRPC_STATUS.UNAVAILABLE])

/** The same for a gRPC status that the peer sent. `notExecuted` as for {@link httpOutcome}. */
export function grpcOutcome(
  status: number,
  notExecuted: boolean,
  retryAfterMs: number | undefined,
  cause?: unknown,
): Outcome {
  if (status === GRPC_STATUS.OK) return SUCCESS
  if (notExecuted) {
    const denied = status === GRPC_STATUS.PERMISSION_DENIED
    return outcome('refused', denied ? 'permission-denied' : 'refused-by-peer', cause, status, retryAfterMs)
  }
  // What is not in the table (17 and up) comes from a broken peer: gRPC reads it as UNKNOWN.
  if (!FAILED.has(status) && status <= GRPC_STATUS.UNAUTHENTICATED) return SUCCESS
  return outcome('failure', BUSY.has(status) ? 'overloaded' : 'server-error', cause, status, retryAfterMs)
}

/**
 * `grpc-retry-pushback-ms` (gRFC A6): the wait in ms; -1, do not retry, if it is negative or
 * unreadable; `undefined` if absent.
 */
export function parsePushback(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  return /^\d{1,10}$/.test(value) ? Math.min(Number(value), LONGEST_RETRY_AFTER_MS) : -1
}

/** With which status a call ends that never got one from its peer. */
export function grpcStatusOf(code: ErrorCode): number {
  switch (code) {
    case 'deadline-exceeded':
    case 'attempt-timeout':
      return GRPC_STATUS.DEADLINE_EXCEEDED
    case 'cancelled':
      return GRPC_STATUS.CANCELLED
    case 'concurrency-limited':
    case 'rate-limited':
    case 'global-rate-limited':
    case 'throttled':
    case 'queue-full':
    case 'response-too-large':
      return GRPC_STATUS.RESOURCE_EXHAUSTED
    case 'permission-denied':
      return GRPC_STATUS.PERMISSION_DENIED
    case 'protocol-error':
      return GRPC_STATUS.INTERNAL
    case 'invalid-options':
      return GRPC_STATUS.INVALID_ARGUMENT
    case 'server-error':
    case 'function-failed':
      return GRPC_STATUS.UNKNOWN
    default:
      return GRPC_STATUS.UNAVAILABLE
  }
}
