/**
 * What a timeout says about the peer: something only if the peer had enough time. It has had enough
 * after what the policy itself allows, and after clearly longer than the service usually takes; a
 * shorter bound is the caller's own affair (decision 0008).
 */
import type { Attempt } from '../core/attempt.ts'
import type { Stack } from './stack.ts'

/** Twice the slowest recent answer: a bound near the usual time is missed by chance. */
const CLEARLY = 2
/** A garbage collection or a scheduler's pause on either side takes tens of ms. */
const ENOUGH_AT_LEAST_MS = 50
/**
 * With each answer the slowest one loses this share of its lead: after a hundred faster ones it is
 * forgotten.
 */
const FORGETTING = 1 / 32
/** An inherited deadline is a little shorter than the policy it came from. */
const NEARLY = 0.9

/**
 * The slowest recent time, forgotten answer by answer and never by time, so that a hang does not
 * erase it.
 */
class Slowest {
  #ms = 0

  learn(ms: number): void {
    if (ms > this.#ms) this.#ms = ms
    else this.#ms -= (this.#ms - ms) * FORGETTING
  }

  get enoughMs(): number {
    return this.#ms === 0 ? Number.POSITIVE_INFINITY : Math.max(ENOUGH_AT_LEAST_MS, CLEARLY * this.#ms)
  }
}

/** How long recent answers of a service took, and the heads of its streams. */
export class UsualTime {
  readonly #answers = new Slowest()
  readonly #heads = new Slowest()

  learn(ms: number): void {
    this.#answers.learn(ms)
  }

  /** A stream began after `ms`. */
  learnHead(ms: number): void {
    this.#heads.learn(ms)
  }

  /**
   * After so long without an answer something is wrong with the peer; Infinity before the first
   * answer.
   */
  get enoughMs(): number {
    return this.#answers.enoughMs
  }

  /**
   * The same for the head of a stream; before the first, streams are expected to begin as soon as
   * others end.
   */
  get enoughForHeadMs(): number {
    const ms = this.#heads.enoughMs
    return ms === Number.POSITIVE_INFINITY ? this.enoughMs : ms
  }
}

/** For how many ms we have waited for the peer, and not the peer for us. */
export function timeGiven(attempt: Attempt, now: number): number {
  const waited = now - attempt.startedAt - attempt.ownMs
  return attempt.ownSince > 0 ? waited - (now - attempt.ownSince) : waited
}

/** Whether it is the peer's fault that `attempt` has run out of time now. */
export function hadEnoughTime(stack: Stack, attempt: Attempt, now: number): boolean {
  // A stream that has begun may be cut by its caller's bound at any time, and while the peer waits
  // for us it is not late.
  if (attempt.begun || attempt.ownSince > 0) return false
  // What has been given back for a stall is in `ownMs` already.
  const stalledMs = stack.clock.stalledMsSince(attempt.startedAt)
  const waitedMs = timeGiven(attempt, now) - Math.max(0, stalledMs - attempt.ownMs)
  const { call } = attempt
  // Past its deadline the peer is not waited for: then only our own timer is late.
  const givenMs = Math.min(waitedMs, call.deadlineAt - attempt.startedAt)
  const { usual } = stack
  if (usual !== undefined && givenMs >= (call.route.streaming ? usual.enoughForHeadMs : usual.enoughMs)) return true
  const { attempts, perTryTimeoutMs } = stack.retry.settings
  const perTry = call.idempotent && attempts > 1 ? perTryTimeoutMs : Number.POSITIVE_INFINITY
  if (givenMs >= NEARLY * Math.min(perTry, stack.timeoutMs)) return true
  // Within the policy's own bound waits and earlier attempts took their part of the time, but the
  // caller did not.
  const bound = call.deadlineAt - call.startedAt
  return bound >= NEARLY * stack.timeoutMs && 2 * givenMs >= now - attempt.startedAt
}
