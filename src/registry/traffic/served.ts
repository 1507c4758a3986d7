/** What the servers of one process reported over the last minute, by instance. */
import { addDigest, DIGEST_STEPS, quantileOf } from '../../telemetry/traffic/latency-digest.ts'
import type { ServedSeries } from '../../telemetry/traffic/traffic-message.ts'
import type { ProcessHistory } from './process-history.ts'
import { rounded } from './rounded.ts'
import { MINUTE_MS, overlapMs, type Span } from './slots.ts'

/** Of the reports of one process, in memory; of many servers, a shorter time is kept. */
const MOST_BYTES = 64 * 1024
/** Of one entry besides its texts. */
const ENTRY_BYTES = 100

/** How an instance served over the last minute. `null`: unknown. */
export interface ServedFigures {
  /** Requests that ended. */
  readonly perSecond: number
  /** Without those that callers gave up. */
  readonly success: number | null
  /** Latency in ms, of merged histograms. */
  readonly p50: number | null
  readonly p99: number | null
  readonly inFlight: number
}

interface Report extends Span {
  readonly served: readonly ServedSeries[]
}

export class ServedReports {
  /** Oldest first. */
  #reports: Report[] = []
  /** What lies before is not whole. */
  #since = Number.NEGATIVE_INFINITY
  #bytes = 0
  readonly #inFlight = new Map<string, number>()

  add(served: readonly ServedSeries[], span: Span): void {
    for (const { id, inFlight = 0 } of served) {
      if (inFlight === 0) this.#inFlight.delete(id)
      else this.#inFlight.set(id, inFlight)
    }
    this.#reports.push({ ...span, served })
    this.#bytes += sizeOf(served)
    while (this.#reports[0]!.to < span.to - MINUTE_MS || this.#bytes > MOST_BYTES) {
      const { to, served } = this.#reports.shift()!
      this.#bytes -= sizeOf(served)
      this.#since = to
    }
  }

  /** Another session begins, with what is in flight. */
  begin(): void {
    this.#inFlight.clear()
  }

  clear(): void {
    this.#inFlight.clear()
    this.#reports = []
    this.#bytes = 0
  }

  /** `since`: when the instance was there, at the latest. `undefined`: too new to say. */
  figures(id: string, history: ProcessHistory, since: number): ServedFigures | undefined {
    const to = history.heardUntil
    const reports = this.#reports.filter((one) => one.to > to - MINUTE_MS)
    // Whole reports, so that counts and time belong together.
    const start = Math.max(to - MINUTE_MS, history.since, this.#since)
    const known = { from: Math.max(Math.min(start, reports[0]?.from ?? to), since), to }
    const holes = history.holesIn(known, to).reduce((sum, hole) => sum + overlapMs(hole, known), 0)
    const knownMs = known.to - known.from - holes
    if (knownMs <= 0) return undefined
    const steps = new Float64Array(DIGEST_STEPS)
    let calls = 0
    let failed = 0
    let judged = 0
    for (const { served } of reports) {
      for (const { id: of, ended = 0, failed: failures = 0, cancelled = 0, ms } of served) {
        if (of !== id) continue
        calls += ended
        failed += failures
        judged += ended - cancelled
        if (ms !== undefined) addDigest(ms, steps)
      }
    }
    const at = (q: number): number | null => {
      const ms = quantileOf(steps, q)
      return ms === undefined ? null : rounded(ms)
    }
    return {
      perSecond: rounded((calls * 1_000) / knownMs),
      success: judged > 0 ? 1 - failed / judged : null,
      p50: at(0.5),
      p99: at(0.99),
      inFlight: this.#inFlight.get(id) ?? 0,
    }
  }
}

function sizeOf(served: readonly ServedSeries[]): number {
  return served.reduce((sum, { id, ms = '' }) => sum + ENTRY_BYTES + id.length + ms.length, 0)
}
