/**
 * All that a process has counted for the registry since its last report. While the registry does
 * not ask, it is off and holds nothing.
 */
import type { ServedCounts } from './served-counts.ts'
import { type SeriesNames, TrafficCell } from './traffic-cell.ts'
import { OTHER, type ServedSeries, TRAFFIC_LIMITS, type TrafficMark, type TrafficSeries } from './traffic-message.ts'

/** A mark, and when it was made on the monotonic clock. */
export interface DatedMark {
  readonly mark: Omit<TrafficMark, 'at'>
  readonly madeAt: number
}

export interface Counted {
  readonly series: readonly TrafficSeries[]
  /** Calls in the series of all others. */
  readonly left: number
  readonly served: readonly ServedSeries[]
  readonly marks: readonly DatedMark[]
  readonly marksLeft: number
}

/** Counts some of the calls, in series that are added here. */
export interface Tally {
  /** Whether the registry believes that calls are in flight. */
  readonly isReported: boolean
  touch(): void
  /** Sets the number of calls in flight in its series. False: there is no room for the series. */
  reportInFlight(): boolean
  /** The registry knows nothing of calls in flight. */
  forget(): void
  /** Reports calls that are in flight. */
  look(): void
  /** Forgets what was counted. */
  clear(): void
}

/** Of the servers of a process. */
export interface Place {
  readonly version?: string | undefined
  readonly zone?: string | undefined
}

export class TrafficCounts {
  /** Read for every call. */
  on = false
  readonly place: Place
  #whenCounted: (() => void) | undefined
  #counted = false
  #cells: TrafficCell[] = []
  #other: TrafficCell | undefined
  #touched: Tally[] = []
  /** Those of which the registry believes that calls are in flight. */
  #running: Tally[] = []
  /** The servers of the process. */
  readonly #servers = new Set<ServedCounts>()
  #marks: DatedMark[] = []
  #marksLeft = 0

  constructor(place: Place = {}) {
    this.place = place
  }

  /** `whenCounted` runs when the first thing is counted, and again after each {@link take}. */
  start(whenCounted: () => void): void {
    this.#whenCounted = whenCounted
    this.on = true
  }

  /** A server begins, and its instance is registered. */
  addServer(server: ServedCounts): void {
    this.#servers.add(server)
  }

  removeServer(server: ServedCounts): void {
    this.#servers.delete(server)
  }

  stop(): void {
    this.on = false
    this.clear()
    for (const tally of this.#running) tally.forget()
    this.#running = []
  }

  /** For the series of calls beyond the limit. */
  get other(): TrafficCell {
    this.#other ??= new TrafficCell({ to: OTHER })
    return this.#other
  }

  isOther(cell: TrafficCell): boolean {
    return cell === this.#other
  }

  /** A new series; beyond the limit, that of all others. */
  add(names: SeriesNames): TrafficCell {
    if (this.#cells.length >= TRAFFIC_LIMITS.series) return this.other
    const cell = new TrafficCell(names)
    this.#cells.push(cell)
    return cell
  }

  touch(tally: Tally): void {
    this.#touched.push(tally)
    this.#count()
  }

  touchServed(): void {
    this.#count()
  }

  mark(mark: Omit<TrafficMark, 'at'>, madeAt: number): void {
    if (this.#marks.length < TRAFFIC_LIMITS.marks) this.#marks.push({ mark, madeAt })
    else this.#marksLeft += 1
    this.#count()
  }

  /** A registry that knows nothing of this process gets the calls in flight again. */
  startAnew(): void {
    const running = this.#running
    this.#running = []
    for (const tally of running) {
      tally.forget()
      tally.look()
    }
    for (const server of this.#servers) if (server.inFlight > 0) server.touch()
  }

  /** What was counted; it is forgotten. */
  take(): Counted {
    const { running, owing } = this.#reportInFlight()
    const cells = this.#other === undefined ? this.#cells : [...this.#cells, this.#other]
    const counted = {
      series: cells.map((cell) => cell.series()),
      left: this.#other?.calls ?? 0,
      served: [...this.#servers].flatMap((server) => server.take() ?? []),
      marks: this.#marks,
      marksLeft: this.#marksLeft,
    }
    this.clear()
    this.#running = running
    for (const tally of owing) tally.touch()
    return counted
  }

  /** Forgets what was counted, without a report. */
  clear(): void {
    for (const tally of this.#touched) tally.clear()
    for (const server of this.#servers) server.clear()
    this.#touched = []
    this.#cells = []
    this.#other = undefined
    this.#marks = []
    this.#marksLeft = 0
    this.#counted = false
  }

  /** `owing`: those without room in this report. */
  #reportInFlight(): { running: Tally[]; owing: Tally[] } {
    const owing = this.#touched.filter((tally) => !tally.reportInFlight())
    const running = new Set([...this.#running, ...this.#touched])
    return { running: [...running].filter(({ isReported }) => isReported), owing }
  }

  #count(): void {
    if (this.#counted) return
    this.#counted = true
    this.#whenCounted?.()
  }
}
