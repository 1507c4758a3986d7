/**
 * The default balancer: the least load of two endpoints drawn at random and those that have just
 * answered well. Load is latency x (requests in flight + 1), reported by the server or estimated.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { NOT_STARTED, type Outcome } from '../../core/outcome.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import { classify } from '../../resilience/classification.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { isLateByStall } from '../../resilience/late-by-stall.ts'
import type { Candidate } from './candidate.ts'
import { doubtOf, noteFailure, staleDoubt } from './doubt.ts'
import { LatencyEstimates } from './latency-estimates.ts'
import { type LoadMeasure, P2cPicker } from './p2c.ts'
import { RecentAnswers } from './recent-answers.ts'
import { ReportedLoad, UsualLoad } from './reported-load.ts'
import { Unheard } from './unheard.ts'

export class LeastLoad implements Balancer, Policy {
  readonly name = 'least-load'
  readonly measuresLatency = true
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined
  readonly #estimates: LatencyEstimates
  readonly #unheard = new Unheard(true)
  readonly #recent = new RecentAnswers()

  /** `health`: the ejection of the same service, if there is one. */
  constructor(clock: Clock, health: ClusterHealth | undefined) {
    this.#clock = clock
    this.#health = health
    this.#estimates = new LatencyEstimates(clock)
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    const usual = new UsualLoad(endpoints, this.#clock)
    const measure = new Load(this.#estimates, this.#unheard, usual, health, staleDoubt(endpoints.length))
    return new P2cPicker(endpoints, measure, health, this.#clock, this.#recent)
  }

  admit({ endpoint }: Attempt): ErrorCode | undefined {
    if (endpoint !== undefined) this.#recent.use(endpoint)
    return undefined
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    const learned = this.#estimates.learn(attempt, outcome)
    const { endpoint, report } = attempt
    if (endpoint === undefined) return
    const load = endpoint.load as ReportedLoad | undefined
    if (!learned) {
      const verdict = classify(outcome)
      if (load !== undefined && (verdict === 'soft' || verdict === 'hard')) load.valid = false
      if (verdict === 'hard') this.#failed(attempt, endpoint, outcome)
      return
    }
    const now = attempt.endedAt || this.#clock.now()
    if (report !== undefined && ReportedLoad.isUsable(report)) {
      const own = load ?? new ReportedLoad()
      endpoint.load = own
      own.take(report, attempt, endpoint, now)
    }
    this.#recent.add(endpoint, now)
  }

  #failed(attempt: Attempt, endpoint: Endpoint, outcome: Outcome): void {
    if (outcome === NOT_STARTED || attempt.openEnded || isLateByStall(attempt, outcome, this.#clock)) return
    noteFailure(endpoint, attempt, attempt.endedAt || this.#clock.now())
  }
}

/** The load of the endpoints of one picker. */
class Load implements LoadMeasure {
  readonly #estimates: LatencyEstimates
  readonly #unheard: Unheard
  readonly #usual: UsualLoad
  readonly #health: ClusterHealth | undefined
  readonly #stale: number
  #panicking = false

  constructor(
    estimates: LatencyEstimates,
    unheard: Unheard,
    usual: UsualLoad,
    health: ClusterHealth | undefined,
    stale: number,
  ) {
    this.#estimates = estimates
    this.#unheard = unheard
    this.#usual = usual
    this.#health = health
    this.#stale = stale
  }

  begin(now: number): void {
    this.#panicking = this.#health?.panicking === true
    this.#usual.refresh(now)
  }

  load(endpoint: Endpoint, candidate: Candidate, now: number): void {
    this.#seem(endpoint, candidate, now)
    // In panic those that never failed cannot bear the load of all.
    if (!this.#panicking) candidate.load *= doubtOf(endpoint, this.#stale, now)
  }

  #seem(endpoint: Endpoint, candidate: Candidate, now: number): void {
    const estimates = this.#estimates
    const usual = this.#usual
    const load = endpoint.load as ReportedLoad | undefined
    if (load?.valid === true) {
      load.recall(endpoint, candidate, usual, now)
      estimates.hearSilence(endpoint, candidate, now)
    } else {
      // Those that do not report have as many calls of others as the rest.
      candidate.inFlight = endpoint.pending + usual.inFlight
      if (estimates.recall(endpoint, candidate, now)) {
        estimates.hearSilence(endpoint, candidate, now)
      } else if (endpoint.oldest === undefined) {
        // Unknown is not the best that there is, beside those that have just answered. It is tried
        // all the same, as one that is unheard of for long.
        candidate.latencyMs = usual.latencyMs || estimates.medianMs
      } else {
        estimates.weighAsked(endpoint, candidate)
        return
      }
    }
    estimates.weigh(candidate)
  }

  forces(loser: Endpoint, now: number): boolean {
    return this.#unheard.forces(loser, now)
  }
}
