/**
 * Counts the calls of one (peer, method, route) in the series of their endpoints. It finds the
 * series of a call by its last endpoint, or else among the few that it has.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { SeriesNames, TrafficCell } from './traffic-cell.ts'
import type { Tally, TrafficCounts } from './traffic-counts.ts'

/** How many calls are in flight. */
interface Gauge {
  readonly inFlight: number
}

export class CallTally implements Tally {
  readonly #counts: TrafficCounts
  /** Of calls without an endpoint; `undefined`: all are counted with those beyond the limit. */
  readonly #names: SeriesNames | undefined
  readonly #gauge: Gauge | undefined
  #cells: TrafficCell[] = []
  #last: TrafficCell | undefined
  #endpoint: Endpoint | undefined
  /** It has something to report. */
  #touched = false
  /** Calls in flight, as last reported. */
  #reported = 0

  constructor(counts: TrafficCounts, names: SeriesNames | undefined, gauge?: Gauge) {
    this.#counts = counts
    this.#names = names
    this.#gauge = names === undefined ? undefined : gauge
  }

  /** The number of calls in flight changes. */
  touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#counts.touch(this)
  }

  /** `ms`: how long the call took, unless that is no latency. */
  ended(call: Call, outcome: Outcome, ms: number | undefined): void {
    const endpoint = call.attempts > 0 ? call.endpoint : undefined
    this.#cellOf(endpoint).ended(outcome, endpoint, ms)
  }

  /** An attempt beyond the first of its call starts. */
  follows({ endpoint, hedge }: Attempt): void {
    const cell = this.#cellOf(endpoint)
    if (hedge) cell.hedges += 1
    else cell.retries += 1
  }

  /** A copy of a call is sent. */
  mirrored(endpoint: Endpoint | undefined): void {
    this.#cellOf(endpoint).mirrored += 1
  }

  reportInFlight(): boolean {
    const inFlight = this.#gauge?.inFlight ?? 0
    if (inFlight === this.#reported) return true
    const cell = this.#cellOf(undefined)
    if (this.#counts.isOther(cell)) return false
    cell.inFlight = inFlight
    this.#reported = inFlight
    return true
  }

  get isReported(): boolean {
    return this.#reported > 0
  }

  forget(): void {
    this.#reported = 0
  }

  look(): void {
    if (this.#gauge !== undefined && this.#gauge.inFlight > 0) this.touch()
  }

  clear(): void {
    this.#cells = []
    this.#last = undefined
    this.#endpoint = undefined
    this.#touched = false
  }

  #cellOf(endpoint: Endpoint | undefined): TrafficCell {
    if (endpoint === this.#endpoint && this.#last !== undefined) return this.#last
    const cell = this.#find(endpoint)
    this.#endpoint = endpoint
    this.#last = cell
    return cell
  }

  #find(endpoint: Endpoint | undefined): TrafficCell {
    this.touch()
    const own = this.#names
    if (own === undefined) return this.#counts.other
    const to = endpoint?.service ?? own.to
    const { version, zone } = endpoint ?? own
    for (const cell of this.#cells) {
      const { names } = cell
      if (names.version === version && names.zone === zone && names.to === to) return cell
    }
    const names = to === own.to ? { ...own, version, zone } : { ...own, to, via: own.to, version, zone }
    const cell = this.#counts.add(names)
    if (!this.#counts.isOther(cell)) this.#cells.push(cell)
    return cell
  }
}
