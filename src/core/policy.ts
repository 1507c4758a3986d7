/**
 * The interface of everything that guards attempts. Clients, servers and guarded functions share
 * it.
 */
import type { Attempt } from './attempt.ts'
import type { ErrorCode } from './errors.ts'
import type { Outcome } from './outcome.ts'

/**
 * Guards attempts. Both methods run synchronously and must not throw. A policy sees no promise,
 * stream, header or socket.
 *
 * In the `service` part of a stack it is asked once per call, with the call's first attempt, and
 * settled once, with the attempt that decided the call; in the `endpoint` part it is asked and
 * settled for every attempt.
 */
export interface Policy {
  readonly name: string
  /** Returns a code to refuse the attempt, or `undefined` to let it start. */
  admit(attempt: Attempt): ErrorCode | undefined
  /**
   * Called exactly once for each admitted attempt, when it is truly over (a stream: when it has
   * ended).
   */
  settle(attempt: Attempt, outcome: Outcome): void
  /**
   * The answer has begun, and well, and need not end: what a probe asks is answered. It is settled
   * later all the same.
   */
  answered?(attempt: Attempt): void
  /**
   * How long it goes on to refuse, in ms, as far as it knows; 0: it admits, or cannot know. For the
   * error of a call that it has refused.
   */
  readonly retryAfterMs?: number
}
