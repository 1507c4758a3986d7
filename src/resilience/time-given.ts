/**
 * What a timeout says about the peer: something only if the peer had enough time. It has had enough after what the policy itself allows,
 * and after clearly longer than the service usually takes; a shorter bound is the caller's own affair (decision 0008).
 */
import type { Attempt } from '../core/attempt.ts'
import type { Stack } from './stack.ts'

/** Twice the slowest recent answer: a bound near the usual time is missed by chance. */
const CLEARLY = 2
/** A garbage collection or a scheduler's pause on either side takes tens of ms. */
const ENOUGH_AT_LEAST_MS = 50
/** With each answer the slowest one loses this share of its lead: after a hundred faster ones it is forgotten. */
const FORGETTING = 1 / 32
/** An inherited deadline is a little shorter than the policy it came from. */
const NEARLY = 0.9

/** How long recent answers of a service took: the slowest, forgotten answer by answer and never by time, so that a hang does not erase it. */
export class UsualTime {
  #slowestMs = 0

  learn(ms: number): void {
    if (ms > this.#slowestMs) this.#slowestMs = ms
    else this.#slowestMs -= (this.#slowestMs - ms) * FORGETTING
  }

  /** After so long without an answer something is wrong with the peer; Infinity before the first answer. */
  get enoughMs(): number {
    return this.#slowestMs === 0 ? Number.POSITIVE_INFINITY : Math.max(ENOUGH_AT_LEAST_MS, CLEARLY * this.#slowestMs)
  }
}

/** For how many ms we have waited for the peer, and not the peer for us. */
export function timeGiven(attempt: Attempt, now: number): number {
  const waited = now - attempt.startedAt - attempt.ownMs
  return attempt.ownSince > 0 ? waited - (now - attempt.ownSince) : waited
}

/** Whether it is the peer's fault that `attempt` has run out of time now. */
export function hadEnoughTime(stack: Stack, attempt: Attempt, now: number): boolean {
  // A stream that has begun may be cut by its caller's bound at any time, and while the peer waits for us it is not late.
  if (attempt.begun || attempt.ownSince > 0) return false
  // What has been given back for a stall is in `ownMs` already.
  const stalledMs = stack.clock.stalledMsSince(attempt.startedAt)
  const waitedMs = timeGiven(attempt, now) - Math.max(0, stalledMs - attempt.ownMs)
  const { call } = attempt
  // Past its deadline the peer is not waited for: then only our own timer is late.
  const givenMs = Math.min(waitedMs, call.deadlineAt - attempt.startedAt)
  if (stack.usual !== undefined && givenMs >= stack.usual.enoughMs) return true
  const { attempts, perTryTimeoutMs } = stack.retry.settings
  const perTry = call.idempotent && attempts > 1 ? perTryTimeoutMs : Number.POSITIVE_INFINITY
  if (givenMs >= NEARLY * Math.min(perTry, stack.timeoutMs)) return true
  // Within the policy's own bound waits and earlier attempts took their part of the time, but the caller did not.
  const bound = call.deadlineAt - call.startedAt
  return bound >= NEARLY * stack.timeoutMs && 2 * givenMs >= now - attempt.startedAt
}
