/**
 * What our own calls tell of the latency of each endpoint: a quick mean of its answers, the age of
 * the oldest unanswered attempt, and what is usual in the cluster.
 */
import type { Attempt } from '../../core/attempt.ts'
import { waitedForPeerMs } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import { classify } from '../../resilience/classification.ts'
import { Candidate } from './candidate.ts'

/**
 * Time constant of the mean. Finagle's 10 s serves a peak that has to fade; a mean beside silence
 * and ejection may be quick, so that a healed endpoint has its share back within 5 s.
 */
const MEAN_MS = 1_000
/**
 * Time constant with which an estimate that is not fed drifts to the cluster's median (Finagle's
 * decay time).
 */
const DRIFT_MS = 10_000
/** The least latency, because 0 means unknown. */
const SHORTEST_MS = 0.001
/**
 * The load of an endpoint that has not answered yet while it is being asked: one probe, not a flood
 * (Finagle's penalty).
 */
const UNKNOWN = 1e12
/**
 * A failure counts as at least this many median latencies. A fixed penalty of seconds starves an
 * endpoint for long, and all of them when each fails 0.5 % of calls in the simulator
 * (`npm run simulate`); ejection stands beside it.
 */
const FAILURE_FACTOR = 10
const FAILURE_AT_LEAST_MS = 50
/** A peer's Retry-After counts up to this. */
const LONGEST_PENALTY_MS = 10_000
/** A sample that overlaps a longer stall of our event loop is dropped. */
const STALL_MS = 20
/** The clock watches for stalls only while they are queried. */
const ASK_EVERY_MS = 1_000
/** Steps of the running median: each sample moves it by this share of itself. */
const MEDIAN_STEP = 0.02
/**
 * Beyond what 2 % of good answers exceed, an endpoint is late: silence counts from there on, and
 * lateness counts twice. Simulated: without it scenario (a) loses 39 calls for 20 if the caller
 * waits on, because few calls in flight make up for any slowness, and silence alone disturbs mixed
 * loads (calls of 5 and 60 ms, one seed: p99.9 102 ms for 80; see its scenario (g)).
 */
const LATE_SHARE = 0.02
const LATE_STEP = 0.1
/** In medians, so that a slow first answer does not mask others for long. */
const LATE_AT_MOST = 20

/** Scratch space of {@link LatencyEstimates.estimate}, which never waits. */
const ESTIMATED = new Candidate()

export class LatencyEstimates {
  readonly #clock: Clock
  #medianMs = 0
  /** What few exceed. */
  #lateMs = 0
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The median latency of this cluster, in ms; 0 before the first answer. */
  get medianMs(): number {
    return this.#medianMs
  }

  /** The estimate of one endpoint at `now`, in ms; 0 = unknown. */
  estimate(endpoint: Endpoint, now: number): number {
    this.recall(endpoint, ESTIMATED, now)
    return ESTIMATED.latencyMs
  }

  /** Sets the latency by our own estimate. Returns whether there is one; else it is 0. */
  recall({ estimateMs, estimatedAt }: Endpoint, candidate: Candidate, now: number): boolean {
    const isKnown = estimateMs !== 0
    const median = this.#medianMs
    candidate.latencyMs = isKnown ? median + (estimateMs - median) * keptAfter(now - estimatedAt, DRIFT_MS) : 0
    return isKnown
  }

  /** Sets the latency to the silence of the oldest attempt in flight, if it is late and longer. */
  hearSilence({ oldest }: Endpoint, candidate: Candidate, now: number): void {
    if (oldest === undefined) return
    const silence = now - oldest.startedAt
    if (silence > this.#lateMs && silence > candidate.latencyMs) candidate.latencyMs = silence
  }

  /** Sets the load by latency, requests in flight and share. */
  weigh(candidate: Candidate): void {
    const lateMs = this.#lateMs
    const { latencyMs } = candidate
    const load = Math.max(SHORTEST_MS, latencyMs) * (candidate.inFlight / candidate.share + 1)
    candidate.load = latencyMs > lateMs && lateMs > 0 ? (load * latencyMs) / lateMs : load
  }

  /** Sets the load of an endpoint that has never answered and is being asked. */
  weighAsked({ pending }: Endpoint, candidate: Candidate): void {
    candidate.load = UNKNOWN + pending / candidate.share
  }

  /** Takes over how an attempt ended. Returns whether it was a good answer that counts. */
  learn(attempt: Attempt, outcome: Outcome): boolean {
    const endpoint = attempt.endpoint
    if (endpoint === undefined || outcome === NOT_STARTED || attempt.openEnded) return false
    const now = attempt.endedAt || this.#clock.now()
    const measured = waitedForPeerMs(attempt, now)
    // A shorter sample contains no stall.
    if (now - this.#askedAt > ASK_EVERY_MS || (measured > STALL_MS && measured > 2 * this.#medianMs)) {
      this.#askedAt = now
      if (this.#clock.stalledMsSince(attempt.startedAt) > STALL_MS) return false
    }
    if (outcome.verdict === 'cancelled') {
      // The answer would have taken at least this long, so it counts only if it raises the
      // estimate.
      if (measured > (this.estimate(endpoint, now) || this.#medianMs)) this.#learn(endpoint, measured, now)
      return false
    }
    switch (classify(outcome)) {
      case 'none':
        return false
      case 'good':
        this.#follow(measured)
        this.#learn(endpoint, measured, now)
        return true
      default: {
        const penalty = Math.max(FAILURE_AT_LEAST_MS, FAILURE_FACTOR * this.#medianMs, outcome.retryAfterMs ?? 0)
        this.#learn(endpoint, Math.max(measured, Math.min(penalty, LONGEST_PENALTY_MS)), now)
        return false
      }
    }
  }

  #learn(endpoint: Endpoint, sample: number, now: number): void {
    const known = this.estimate(endpoint, now)
    const kept = known === 0 ? 0 : Math.exp(-(now - endpoint.estimatedAt) / MEAN_MS)
    endpoint.estimateMs = Math.max(SHORTEST_MS, known * kept + sample * (1 - kept))
    endpoint.estimatedAt = now
    endpoint.samples += 1
    endpoint.samplesMs += Math.max(SHORTEST_MS, sample)
  }

  /**
   * Running quantiles: up or down a step with each good answer, so that one slow endpoint does not
   * move them far.
   */
  #follow(sample: number): void {
    if (this.#medianMs === 0) {
      this.#medianMs = Math.max(SHORTEST_MS, sample)
      this.#lateMs = this.#medianMs
      return
    }
    this.#medianMs *= sample > this.#medianMs ? 1 + MEDIAN_STEP : 1 - MEDIAN_STEP
    const late = this.#lateMs * (sample > this.#lateMs ? 1 + LATE_STEP * (1 - LATE_SHARE) : 1 - LATE_STEP * LATE_SHARE)
    this.#lateMs = Math.min(Math.max(late, this.#medianMs), LATE_AT_MOST * this.#medianMs)
  }
}

/** exp(-ms / timeConstant) to the second order: no pick pays for an exponential. */
export function keptAfter(ms: number, timeConstant: number): number {
  const kept = (2 * timeConstant) / (2 * timeConstant + ms)
  return kept * kept
}
