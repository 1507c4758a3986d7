/**
 * Attributes a timeout to the peer or to the caller's bound. The peer had enough time if it had
 * what the policy allows, or clearly more than it usually takes (decision 0008).
 */
import { type Attempt, waitedForPeerMs } from '../core/attempt.ts'
import type { Stack } from './stack.ts'

/** An inherited deadline is a little shorter than the policy it came from. */
const NEARLY = 0.9

/** Whether it is the peer's fault that `attempt` has run out of time now. */
export function hadEnoughTime(stack: Stack, attempt: Attempt, now: number): boolean {
  // A stream that has begun may be cut by its caller's bound at any time, and while the peer waits
  // for us it is not late.
  if (attempt.begun || attempt.ownSince > 0) return false
  // What has been given back for a stall is in `ownMs` already.
  const stalledMs = stack.clock.stalledMsSince(attempt.startedAt)
  const waitedMs = waitedForPeerMs(attempt, now) - Math.max(0, stalledMs - attempt.ownMs)
  const { call } = attempt
  // Past its deadline the peer is not waited for: then only our own timer is late.
  const givenMs = Math.min(waitedMs, call.deadlineAt - attempt.startedAt)
  const { typicalLatency } = stack
  if (typicalLatency !== undefined) {
    const { enoughMs, enoughForHeadMs } = typicalLatency
    if (givenMs >= (call.kind.streaming ? enoughForHeadMs : enoughMs)) return true
  }
  const { attempts, perTryTimeoutMs, boundLastTry } = stack.retry.settings
  const perTry = boundLastTry || (call.idempotent && attempts > 1) ? perTryTimeoutMs : Number.POSITIVE_INFINITY
  if (givenMs >= NEARLY * Math.min(perTry, stack.timeoutMs)) return true
  // Within the policy's own bound waits and earlier attempts took their part of the time, but the
  // caller did not.
  const bound = call.deadlineAt - call.startedAt
  return bound >= NEARLY * stack.timeoutMs && 2 * givenMs >= now - attempt.startedAt
}
