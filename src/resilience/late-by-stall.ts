/** Tells a late answer of the peer from a stall of our own event loop. */
import type { Attempt } from '../core/attempt.ts'
import type { Clock } from '../core/clock.ts'
import type { Outcome } from '../core/outcome.ts'

/**
 * A duration of which our own loop stood still for a larger share says nothing: a busy process has
 * some stall in any second.
 */
const STALLED_SHARE = 0.5

/** Whether a timeout of `attempt` says nothing about its endpoint. */
export function isLateByStall(attempt: Attempt, { code }: Outcome, clock: Clock): boolean {
  if (code !== 'attempt-timeout' && code !== 'deadline-exceeded') return false
  const ranMs = (attempt.endedAt || clock.now()) - attempt.startedAt
  return clock.stalledMsSince(attempt.startedAt) > STALLED_SHARE * ranMs
}
