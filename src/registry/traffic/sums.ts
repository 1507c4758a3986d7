/** Adds up cells, also of several registries, and gives rates, shares and percentiles. */
import { addDigest, DIGEST_STEPS, quantileOf } from '../../telemetry/traffic/latency-digest.ts'
import type { Cell } from './cells.ts'
import { rounded } from './rounded.ts'

/** The caller changed its mind, which says nothing of the called service. */
const NO_VERDICT = 'cancelled'

/** How the calls of a window went. `null`: unknown. */
export interface Figures {
  /** Calls that ended, per second. */
  readonly perSecond: number | null
  /** The share of calls that succeeded, without those that were cancelled. */
  readonly success: number | null
  /** Latency in ms, of merged histograms. */
  readonly p50: number | null
  readonly p90: number | null
  readonly p99: number | null
  readonly calls: number | null
  readonly retries: number | null
  readonly hedges: number | null
  readonly mirrored: number | null
  /** Failures by code. */
  readonly codes: Readonly<Record<string, number>>
}

export class Sums {
  calls = 0
  retries = 0
  hedges = 0
  mirrored = 0
  /** Calls whose latency is known. */
  timed = 0
  readonly codes = new Map<string, number>()
  readonly #steps = new Float64Array(DIGEST_STEPS)

  add({ calls = 0, retries = 0, hedges = 0, mirrored = 0, codes = {}, ms = '' }: Cell): void {
    this.calls += calls
    this.retries += retries
    this.hedges += hedges
    this.mirrored += mirrored
    for (const code in codes) this.codes.set(code, (this.codes.get(code) ?? 0) + codes[code]!)
    this.timed += addDigest(ms, this.#steps)
  }

  /** `seconds`: of the time that is known; 0: none is. `isHeard`: any process was heard. */
  figures(seconds: number, isHeard: boolean): Figures {
    const isKnown = seconds > 0 && isHeard
    const counted = (count: number): number | null => (isKnown ? count : null)
    const at = (q: number): number | null => {
      const ms = isKnown ? quantileOf(this.#steps, q) : undefined
      return ms === undefined ? null : rounded(ms)
    }
    const noVerdict = this.codes.get(NO_VERDICT) ?? 0
    let failures = 0
    for (const count of this.codes.values()) failures += count
    const judged = this.calls - noVerdict
    return {
      perSecond: isKnown ? rounded(this.calls / seconds) : null,
      success: isKnown && judged > 0 ? 1 - (failures - noVerdict) / judged : null,
      p50: at(0.5),
      p90: at(0.9),
      p99: at(0.99),
      calls: counted(this.calls),
      retries: counted(this.retries),
      hedges: counted(this.hedges),
      mirrored: counted(this.mirrored),
      codes: Object.fromEntries([...this.codes].sort(([a], [b]) => (a < b ? -1 : 1))),
    }
  }
}
