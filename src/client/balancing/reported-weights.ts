/**
 * `weighted-round-robin` with the weights that the servers report: how many requests a second each
 * could serve (gRFC A58), times the weight that it registered.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { LatencyEstimates } from './latency-estimates.ts'
import { ReportedCapacity } from './reported-capacity.ts'
import { StridePicker } from './weighted-round-robin.ts'

/** How often weights are computed anew (A58); with very many endpoints, one ms for each. */
const UPDATE_MS = 1_000
/** A weight is at most ten times the median and at least a tenth (gRPC C++). */
const MOST_RATIO = 10
/**
 * From here on slowness that we measure bounds a weight, in medians: servers may be late, wrong or
 * lying. An honest report loses nothing by it in simulations.
 */
const SLOW = 2
/** The same for endpoints that do not report: half of a mixed fleet drowns without it. */
const SLOW_UNKNOWN = 1

export class ReportedWeights implements Balancer, Policy {
  readonly name = 'weighted-round-robin'
  readonly measuresLatency = true
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined
  readonly #estimates: LatencyEstimates

  constructor(clock: Clock, health: ClusterHealth | undefined) {
    this.#clock = clock
    this.#health = health
    this.#estimates = new LatencyEstimates(clock)
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    const start = new StridePicker(endpoints, health, this.#clock, this.#clock.random())
    return new ReportedPicker(endpoints, start, this.#estimates, this.#clock)
  }

  admit(): ErrorCode | undefined {
    return undefined
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.#estimates.learn(attempt, outcome)
    const { endpoint, report } = attempt
    if (endpoint === undefined || report === undefined || outcome.verdict !== 'success') return
    const known = endpoint.capacity as ReportedCapacity | undefined
    const own = known ?? new ReportedCapacity()
    if (own.take(report, attempt.endedAt || this.#clock.now())) endpoint.capacity = own
  }
}

class ReportedPicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #estimates: LatencyEstimates
  readonly #clock: Clock
  #picker: StridePicker
  #weighted = false
  #dueAt = 0

  constructor(endpoints: readonly Endpoint[], start: StridePicker, estimates: LatencyEstimates, clock: Clock) {
    this.#endpoints = endpoints
    this.#picker = start
    this.#estimates = estimates
    this.#clock = clock
  }

  pick(call: Call, now = this.#clock.now()): Endpoint | undefined {
    if (now >= this.#dueAt) this.#weigh(now)
    return this.#picker.pick(call)
  }

  #weigh(now: number): void {
    const endpoints = this.#endpoints
    this.#dueAt = now + Math.max(UPDATE_MS, endpoints.length)
    const reported = endpoints.map(({ capacity }) => (capacity as ReportedCapacity | undefined)?.perSecond(now) ?? 0)
    const shares = sharesOf(reported, (i) => this.#slowness(endpoints[i]!, now))
    if (shares === undefined && !this.#weighted) return
    this.#weighted = shares !== undefined
    for (const [i, endpoint] of endpoints.entries()) endpoint.share = shares?.[i] ?? 1
    // It has no endpoints of weight 0, unless all weights are 0.
    this.#picker = this.#picker.reweighed((endpoint) => (endpoint.weight || 1) * endpoint.share)
  }

  /** How much longer its calls take than usual; at most 1 if that is not known. */
  #slowness(endpoint: Endpoint, now: number): number {
    const { medianMs } = this.#estimates
    return medianMs === 0 ? 0 : this.#estimates.estimate(endpoint, now) / medianMs
  }
}

/**
 * Weights from what is reported, 0 for what is not known. `undefined`: all count alike, because too
 * few are known.
 */
function sharesOf(reported: readonly number[], slowness: (at: number) => number): readonly number[] | undefined {
  const known = reported.filter((each) => each > 0).sort((a, b) => a - b)
  if (known.length < 2) return undefined
  const median = known[known.length >> 1]!
  const within = (each: number): number => Math.min(Math.max(each, median / MOST_RATIO), median * MOST_RATIO)
  const mean = known.reduce((sum, each) => sum + within(each), 0) / known.length
  return reported.map((each, at) => {
    const share = each > 0 ? within(each) : mean
    const slow = slowness(at)
    const bound = each > 0 ? SLOW : SLOW_UNKNOWN
    return (slow > bound ? Math.min(share, (median * bound) / slow) : share) / mean
  })
}
