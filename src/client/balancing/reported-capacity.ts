/**
 * How many requests a second a server could serve, by its reports (gRFC A58). A foreign server
 * reports rate and utilization. For one of the mesh it is (in flight + 1) / latency: of a queue
 * with `l` arrivals and `m` services a second, latency is 1 / (m - l) and, by Little's law, l times
 * that are in flight.
 */
import type { LoadReport } from '../../core/load-report.ts'
import { keptAfter } from './latency-estimates.ts'
import { ReportedLoad } from './reported-load.ts'

/** Reports of a new endpoint, or after a silence, are not used for this long (A58). */
const BLACKOUT_MS = 10_000
/** Without a report for this long there is no weight (A58). */
const EXPIRES_MS = 180_000
/** Time constant of both means. In simulations 3 s is no better, and 30 s much worse. */
const MEAN_MS = 10_000

export class ReportedCapacity {
  /** Of the first report after the last silence. */
  #since = 0
  #at = 0
  #perSecond = 0
  /** Means of what the reports of a server of the mesh say. */
  #inFlight = 0
  #latencyMs = 0

  /** Returns false if `report` says nothing, or a later one has overtaken it. */
  take(report: LoadReport, endedAt: number): boolean {
    const { inFlight, latencyMs, capacity, arrivedAt: now = endedAt } = report
    if (now < this.#at || !(capacity === undefined ? ReportedLoad.isUsable(report) : capacity > 0)) return false
    const silence = now - this.#at
    const begins = this.#at === 0 || silence >= EXPIRES_MS
    if (begins) this.#since = now
    this.#at = now
    if (capacity !== undefined) {
      this.#perSecond = capacity
      return true
    }
    const kept = begins || this.#latencyMs === 0 ? 0 : keptAfter(silence, MEAN_MS)
    this.#inFlight = inFlight + 1 + (this.#inFlight - inFlight - 1) * kept
    this.#latencyMs = latencyMs + (this.#latencyMs - latencyMs) * kept
    this.#perSecond = (1_000 * this.#inFlight) / this.#latencyMs
    return true
  }

  get reportedPerSecond(): number {
    return this.#perSecond
  }

  /** When the last report came. */
  get at(): number {
    return this.#at
  }

  /** Requests a second; 0: not known, or not known well. */
  perSecond(now: number): number {
    if (this.#at === 0 || now - this.#at >= EXPIRES_MS || now - this.#since < BLACKOUT_MS) return 0
    return this.#perSecond
  }
}
