/**
 * Load is max(mean latency, age of the oldest attempt in flight) x (attempts in flight + 1), of two
 * drawn at random. A stalled endpoint is noticed before its first slow response.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import type { Candidate } from './candidate.ts'
import { LatencyEstimates } from './latency-estimates.ts'
import { type LoadMeasure, P2cPicker } from './p2c.ts'
import { Unheard } from './unheard.ts'

export class PeakEwma implements Balancer, Policy, LoadMeasure {
  readonly name = 'peak-ewma'
  readonly measuresLatency = true
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined
  readonly #estimates: LatencyEstimates
  readonly #unheard = new Unheard(false)

  /** `health`: the ejection of the same service, if there is one. */
  constructor(clock: Clock, health: ClusterHealth | undefined) {
    this.#clock = clock
    this.#health = health
    this.#estimates = new LatencyEstimates(clock)
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    return new P2cPicker(endpoints, this, health, this.#clock)
  }

  /** The median latency of this cluster, in ms; 0 before the first answer. */
  get medianMs(): number {
    return this.#estimates.medianMs
  }

  /** The estimate of one endpoint at `now`, in ms; 0 = unknown. */
  estimate(endpoint: Endpoint, now: number): number {
    return this.#estimates.estimate(endpoint, now)
  }

  load(endpoint: Endpoint, candidate: Candidate, now: number): void {
    const estimates = this.#estimates
    const { pending } = endpoint
    candidate.inFlight = pending
    if (estimates.recall(endpoint, candidate, now)) {
      estimates.hearSilence(endpoint, candidate, now)
      estimates.weigh(candidate)
    } else if (pending === 0) {
      candidate.load = 0
    } else if (endpoint.oldest === undefined) {
      // Streams alone ask nothing: where they came first, an answer would be waited for as long as
      // they are open.
      candidate.latencyMs = estimates.medianMs
      estimates.weigh(candidate)
    } else {
      estimates.weighAsked(endpoint, candidate)
    }
  }

  forces(loser: Endpoint, now: number): boolean {
    return this.#unheard.forces(loser, now)
  }

  admit(): ErrorCode | undefined {
    return undefined
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.#estimates.learn(attempt, outcome)
  }
}
