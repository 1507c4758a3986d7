/**
 * The doubts about an endpoint that multiply its load: nothing was heard of it for a while, or it
 * failed, after which good answers do not restore trust at once.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { MOST_RECENT } from './recent-answers.ts'

/**
 * What is known is old after so long. In simulated random fleets (`npm run simulate`) 0.31 % of
 * calls fail with a factor of 1, and 0.23 % with 2; 3 costs 3 % of p99 beside neighbours.
 */
const STALE_MS = 1_000
const STALE = 2
/** A failure weighs as ten latencies do, for as long as the doubt lasts. */
const FAILED = 10
/** Twice as long as the first ejection; then as many times longer as ejections become. */
const FIRST_MS = 2_000
const GROWTH = 4
const LONGEST_MS = 10_000
/** A failure so soon after the end of a doubt prolongs it. */
const AGAIN_MS = 5_000

/**
 * The doubt about silence among `size` endpoints. As many as can be remembered share the calls of
 * one caller that makes one after the other; beyond that it would know most of them too little.
 */
export function staleDoubt(size: number): number {
  return size > MOST_RECENT ? STALE : 1
}

/** The factor by which its load counts more than it seems. */
export function doubtOf(endpoint: Endpoint, stale: number, now: number): number {
  if (now < endpoint.doubtedUntil) return FAILED
  return now - endpoint.estimatedAt > STALE_MS ? stale : 1
}

/** `attempt` failed at `endpoint`, and no stall of our own is to blame. */
export function noteFailure(endpoint: Endpoint, { startedAt }: Attempt, now: number): void {
  const { doubtedMs, doubtedUntil } = endpoint
  // It began before the last failure was known, and tells of the same trouble.
  if (doubtedMs > 0 && startedAt < doubtedUntil - doubtedMs) return
  const again = doubtedMs > 0 && now < doubtedUntil + AGAIN_MS
  endpoint.doubtedMs = again ? Math.min(LONGEST_MS, doubtedMs * GROWTH) : FIRST_MS
  endpoint.doubtedUntil = now + endpoint.doubtedMs
}
