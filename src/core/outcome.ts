/**
 * How an attempt ended, as a plain value. Policies learn from outcomes alone: they see no promise,
 * stream or socket.
 */
import type { ErrorCode } from './errors.ts'

/**
 * - `success`: the peer answered without a failure.
 * - `failure`: the peer answered with a failure, or may have acted on the request.
 * - `refused`: certainly never acted on, so safe to try elsewhere, whatever the method.
 * - `cancelled`: our side gave up. Releases what was held, teaches nothing.
 */
export type Verdict = 'success' | 'failure' | 'refused' | 'cancelled'

/** The end of one attempt. */
export interface Outcome {
  readonly verdict: Verdict
  /** The reason, unless it is a success. */
  readonly code: ErrorCode | undefined
  /** HTTP or gRPC status if the peer sent one. */
  readonly status: number | undefined
  /** The original error. It is wrapped only if it reaches the caller. */
  readonly cause: unknown
  /**
   * The delay that the peer asked for (`retry-after`, `grpc-retry-pushback-ms`), in ms. Negative:
   * do not retry.
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

/** An outcome other than success. */
export function outcome(
  verdict: Verdict,
  code: ErrorCode,
  cause?: unknown,
  status?: number,
  retryAfterMs?: number,
): Outcome {
  return { verdict, code, status, cause, retryAfterMs }
}

/**
 * An answer that is no failure of the peer, such as 404, but is listed as worth another attempt.
 * Policies learn a success from it; the status tells it from {@link SUCCESS}.
 */
export function repeatedAnswer(status: number, retryAfterMs: number | undefined): Outcome {
  return { ...SUCCESS, status, retryAfterMs }
}

/** Whether it ends its call, unless another attempt runs. */
export function isFinal({ verdict, status }: Outcome): boolean {
  return verdict === 'success' && status === undefined
}

/** Settles the policies that had admitted an attempt before a later policy refused it. */
export const NOT_STARTED: Outcome = Object.freeze(outcome('cancelled', 'cancelled'))

/**
 * The peer ended its connection (GOAWAY) without executing this attempt. Unlike a refusal with a
 * status, that says nothing about load.
 */
export function wasLeftBehind({ code, status }: Outcome): boolean {
  return code === 'refused-by-peer' && status === undefined
}
