/**
 * How an attempt ended, as a plain value: policies learn from outcomes and never see an error, a
 * promise or a socket.
 */
import type { ErrorCode } from './errors.ts'

/**
 * - `success`: the peer answered, and well.
 * - `failure`: the peer answered badly, or may have acted on the request.
 * - `refused`: certainly never acted on, so safe to try elsewhere, whatever the method.
 * - `cancelled`: our side gave up. Releases what was held, teaches nothing.
 */
export type Verdict = 'success' | 'failure' | 'refused' | 'cancelled'

/** The end of one attempt. */
export interface Outcome {
  readonly verdict: Verdict
  /** Why, unless it is a success. */
  readonly code: ErrorCode | undefined
  /** HTTP or gRPC status, when the peer sent one; none if it only ended its connection. */
  readonly status: number | undefined
  /** The original error; wrapped only if it reaches the caller. */
  readonly cause: unknown
  /**
   * The peer's own wish (`retry-after`, `grpc-retry-pushback-ms`), in ms. Negative: do not retry.
   */
  readonly retryAfterMs: number | undefined
}

/** The common case allocates nothing. */
export const SUCCESS: Outcome = Object.freeze({
  verdict: 'success',
  code: undefined,
  status: undefined,
  cause: undefined,
  retryAfterMs: undefined,
})

/** An outcome that is no success. */
export function outcome(
  verdict: Verdict,
  code: ErrorCode,
  cause?: unknown,
  status?: number,
  retryAfterMs?: number,
): Outcome {
  return { verdict, code, status, cause, retryAfterMs }
}

/** The outcome for policies that admitted an attempt which a later policy refused. */
export const NOT_STARTED: Outcome = Object.freeze(outcome('cancelled', 'cancelled'))

/**
 * The peer ended its connection (GOAWAY) and left this attempt behind. It says nothing of load,
 * unlike a refusal with a status.
 */
export function wasLeftBehind({ code, status }: Outcome): boolean {
  return code === 'refused-by-peer' && status === undefined
}
