/** What one server of this process has answered to all callers since the last report. */
import type { Outcome } from '../../core/outcome.ts'
import { LatencyDigest } from './latency-digest.ts'
import type { ServedSeries } from './traffic-message.ts'

/** What counts it for the registry. */
export interface ServedHost {
  /** Whether the registry asks. Read for every request. */
  readonly on: boolean
  /** There is something to report. */
  touchServed(): void
}

export class ServedCounts {
  /** Of the instance that the registry lists. */
  readonly id: string
  inFlight = 0
  readonly #counts: ServedHost
  #touched = false
  #ended = 0
  #failed = 0
  #cancelled = 0
  #ms: LatencyDigest | undefined

  constructor(counts: ServedHost, id: string) {
    this.#counts = counts
    this.id = id
  }

  started(): void {
    this.inFlight += 1
    if (this.#counts.on) this.touch()
  }

  /** `ms`: how long the request took, unless that is no latency. */
  ended({ verdict }: Outcome, ms: number | undefined): void {
    this.inFlight -= 1
    if (!this.#counts.on) return
    this.touch()
    this.#ended += 1
    if (verdict === 'cancelled') this.#cancelled += 1
    else if (verdict !== 'success') this.#failed += 1
    if (ms === undefined || verdict === 'refused' || verdict === 'cancelled') return
    this.#ms ??= new LatencyDigest()
    this.#ms.record(ms)
  }

  /** There is something to report. */
  touch(): void {
    if (this.#touched) return
    this.#touched = true
    this.#counts.touchServed()
  }

  /** What was counted; it is forgotten. `undefined`: nothing has changed. */
  take(): ServedSeries | undefined {
    if (!this.#touched) return undefined
    const series = {
      id: this.id,
      ...(this.#ended > 0 && { ended: this.#ended }),
      ...(this.#failed > 0 && { failed: this.#failed }),
      ...(this.#cancelled > 0 && { cancelled: this.#cancelled }),
      ...(this.inFlight > 0 && { inFlight: this.inFlight }),
      ...(this.#ms !== undefined && { ms: this.#ms.encode() }),
    }
    this.clear()
    return series
  }

  clear(): void {
    this.#touched = false
    this.#ended = 0
    this.#failed = 0
    this.#cancelled = 0
    this.#ms = undefined
  }
}
