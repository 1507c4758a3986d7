/** What the servers themselves reported of their load, and what is usual among them. */
import { type Attempt, waitedForPeerMs } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { LoadReport } from '../../core/load-report.ts'
import { insertSorted, medianOf } from '../../core/sorted.ts'
import type { Candidate } from './candidate.ts'
import { keptAfter } from './latency-estimates.ts'

/** The time between caller and server is a mean over this many answers. */
const NETWORK_ANSWERS = 10
/**
 * Time constants with which a report loses its worth against what is usual. A queue changes within
 * a second, the speed of a machine does not.
 */
const IN_FLIGHT_MS = 1_000
const LATENCY_MS = 5_000
/**
 * A report counts for at most so much better than what our own calls took, and than what is usual
 * in flight: servers may be late, wrong or lying. An honest report loses nothing by it in
 * simulations, and a liar has its calls until it is four times as slow as usual.
 */
const MEASURED_SHARE = 0.5
const USUAL_SHARE = 0.5

/** No latency is taken for more, in µs: 17 minutes. */
const MOST_US = 1e9

/**
 * The last report of one endpoint. V8 keeps small integers in the object, and any other number in a
 * separate one: among 10,000 endpoints, one more miss of the cache each.
 */
export class ReportedLoad {
  /** A failure since then makes it void: failing fast must not look fast. */
  valid = true
  #inFlight = 0
  #latencyUs = 0
  #networkUs = 0
  /** In whole ms. */
  #at = -1
  /** Our own attempts in flight when it came. */
  #pending = 0

  /** As good a report as the balancer can use; else it goes by what it measures. */
  static isUsable({ inFlight, latencyMs, servedMs }: LoadReport): boolean {
    return inFlight >= 0 && latencyMs > 0 && servedMs >= 0 && inFlight + latencyMs + servedMs < Number.POSITIVE_INFINITY
  }

  /** With the answer to `attempt`, after which the endpoint is in the state that it is in now. */
  take(report: LoadReport, attempt: Attempt, { pending, estimateMs }: Endpoint, now: number): void {
    const at = report.arrivedAt ?? now
    // A later answer has overtaken it.
    if (Math.floor(at) < this.#at) return
    const networkUs = inMicroseconds(waitedForPeerMs(attempt, at) - report.servedMs)
    const known = this.#networkUs
    this.#networkUs = this.#at < 0 ? networkUs : Math.round(known + (networkUs - known) / NETWORK_ANSWERS)
    this.valid = true
    this.#inFlight = report.inFlight
    this.#latencyUs = inMicroseconds(Math.max(report.latencyMs, estimateMs * MEASURED_SHARE - this.#networkUs / 1_000))
    this.#at = Math.floor(at)
    this.#pending = pending
  }

  get reportedInFlight(): number {
    return this.#inFlight
  }

  get reportedLatencyMs(): number {
    return this.#latencyUs / 1_000
  }

  /** The mean time between us and the server. */
  get networkMs(): number {
    return this.#networkUs / 1_000
  }

  /** When the report came, in whole ms. */
  get at(): number {
    return this.#at
  }

  /** Sets latency and requests in flight there now, as far as we can tell. */
  recall({ pending }: Endpoint, candidate: Candidate, { inFlight, latencyMs }: UsualLoad, now: number): void {
    const age = now - this.#at
    const ours = pending - this.#pending
    const guess = inFlight + (this.#inFlight - inFlight) * keptAfter(age, IN_FLIGHT_MS) + (ours > 0 ? ours : 0)
    const least = (inFlight + 1) * USUAL_SHARE - 1
    candidate.inFlight = Math.max(guess, pending, least)
    const reported = this.#latencyUs / 1_000
    candidate.latencyMs = latencyMs + (reported - latencyMs) * keptAfter(age, LATENCY_MS) + this.#networkUs / 1_000
  }
}

function inMicroseconds(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms * 1_000)), MOST_US)
}

/** How often the medians are computed anew. */
const COUNT_EVERY_MS = 100
/** A median is that of this many reports, found among this many endpoints at most. */
const SAMPLED = 64
const LOOKED_AT = 256

/** The medians over the endpoints of one picker. Of very many, a sample stands for all. */
export class UsualLoad {
  inFlight = 0
  latencyMs = 0
  readonly #endpoints: readonly Endpoint[]
  readonly #clock: Clock
  #countedAt = Number.NEGATIVE_INFINITY

  constructor(endpoints: readonly Endpoint[], clock: Clock) {
    this.#endpoints = endpoints
    this.#clock = clock
  }

  refresh(now: number): void {
    if (now - this.#countedAt < COUNT_EVERY_MS) return
    this.#countedAt = now
    const endpoints = this.#endpoints
    const size = endpoints.length
    const step = Math.max(1, Math.floor(size / LOOKED_AT))
    const looks = Math.min(size, LOOKED_AT)
    let at = size <= SAMPLED ? 0 : Math.floor(this.#clock.random() * size)
    let found = 0
    for (let i = 0; i < looks && found < SAMPLED; i++) {
      const load = endpoints[at]!.load as ReportedLoad | undefined
      at = (at + step) % size
      if (load === undefined || !load.valid) continue
      insertSorted(IN_FLIGHT, found, load.reportedInFlight)
      insertSorted(LATENCIES, found, load.reportedLatencyMs)
      found += 1
    }
    if (found === 0) return
    this.inFlight = medianOf(IN_FLIGHT, found)
    this.latencyMs = medianOf(LATENCIES, found)
  }
}

/** Scratch space of {@link UsualLoad.refresh}, which never waits. */
const IN_FLIGHT = new Float64Array(SAMPLED)
const LATENCIES = new Float64Array(SAMPLED)
