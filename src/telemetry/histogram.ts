/**
 * A log-linear histogram of latencies: 8 steps per doubling, precise to 1/16, in 2 KiB. Steps are
 * split at the exported boundaries, so the Prometheus buckets are exact.
 */
import type { TraceContext } from '../core/trace-context.ts'
import { Exemplars } from './exemplars.ts'
import { LARGEST_US, lowestOf, STEP_COUNT, stepOf } from './latency-steps.ts'

/**
 * Upper bounds of the exported buckets in ms: those of the OpenTelemetry semantic conventions (.005
 * to 10 s).
 */
export const BOUNDARIES_MS: readonly number[] = Object.freeze([
  5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000,
])

interface Layout {
  /** How many splits lie below a step, and where the step itself is split, in µs. */
  readonly shift: Uint8Array
  readonly cut: Float64Array
  /** Lower edge of each step in µs, one more than there are steps. */
  readonly edges: Float64Array
  /** For each boundary, the first step above it. */
  readonly above: readonly number[]
}

function layOut(): Layout {
  const shift = new Uint8Array(STEP_COUNT)
  const cut = new Float64Array(STEP_COUNT).fill(Number.POSITIVE_INFINITY)
  for (const boundary of BOUNDARIES_MS) cut[stepOf(boundary * 1_000)] = boundary * 1_000
  const edges: number[] = []
  const above: number[] = []
  for (let step = 0; step < STEP_COUNT; step++) {
    shift[step] = edges.length - step
    edges.push(lowestOf(step))
    if (cut[step] !== Number.POSITIVE_INFINITY) {
      edges.push(cut[step]!)
      above.push(edges.length - 1)
    }
  }
  edges.push(LARGEST_US + 1)
  return { shift, cut, edges: Float64Array.from(edges), above }
}

const LAYOUT = layOut()
const COUNT = LAYOUT.edges.length - 1
const SHIFT = LAYOUT.shift
const CUT = LAYOUT.cut

/**
 * The totals for an exporter: how many values were at most each of {@link BOUNDARIES_MS}, then all.
 */
export interface HistogramTotals {
  readonly atMost: readonly number[]
  readonly count: number
  readonly sumMs: number
}

export class Histogram {
  /** Of recorded calls; `undefined`: there was none. */
  exemplars: Exemplars | undefined = undefined
  /** Float64 rather than Uint32: a busy process overflows 32 bits within days. */
  readonly #counts = new Float64Array(COUNT)
  #sumMs = 0

  /** Negative values and NaN count as 0. */
  record(ms: number): void {
    if (!(ms > 0)) ms = 0
    const us = ms * 1_000
    const step = stepOf(us < LARGEST_US ? us | 0 : LARGEST_US)
    this.#counts[step + SHIFT[step]! + (us > CUT[step]! ? 1 : 0)]! += 1
    this.#sumMs += ms
  }

  /** After {@link record}, for a call whose span is recorded. `at`: wall clock in ms. */
  exemplify(trace: TraceContext, ms: number, at: number): void {
    this.exemplars ??= new Exemplars(BOUNDARIES_MS)
    this.exemplars.keep(trace, ms, at)
  }

  get count(): number {
    let count = 0
    for (const n of this.#counts) count += n
    return count
  }

  get sumMs(): number {
    return this.#sumMs
  }

  /**
   * The `p` quantile (0 to 1) in ms, precise to 1/16; 0 when nothing was recorded.
   * @throws RangeError if `p` is outside 0 to 1.
   */
  percentile(p: number): number {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`a percentile is from 0 to 1, got ${p}`)
    const count = this.count
    if (count === 0) return 0
    const rank = Math.max(1, Math.ceil(p * count))
    let seen = 0
    for (let step = 0; step < COUNT; step++) {
      seen += this.#counts[step]!
      if (seen >= rank) return middle(step)
    }
    return middle(COUNT - 1)
  }

  /** Adds all that `other` has recorded. */
  merge(other: Histogram): void {
    for (let step = 0; step < COUNT; step++) this.#counts[step]! += other.#counts[step]!
    this.#sumMs += other.#sumMs
  }

  /**
   * The difference to `earlier`, a {@link copy} of this histogram: the percentiles of an interval.
   */
  since(earlier: Histogram): Histogram {
    const difference = new Histogram()
    for (let step = 0; step < COUNT; step++) {
      difference.#counts[step] = Math.max(0, this.#counts[step]! - earlier.#counts[step]!)
    }
    difference.#sumMs = Math.max(0, this.#sumMs - earlier.#sumMs)
    return difference
  }

  copy(): Histogram {
    const copy = new Histogram()
    copy.merge(this)
    return copy
  }

  totals(): HistogramTotals {
    const atMost: number[] = []
    let seen = 0
    let step = 0
    for (const first of LAYOUT.above) {
      for (; step < first; step++) seen += this.#counts[step]!
      atMost.push(seen)
    }
    for (; step < COUNT; step++) seen += this.#counts[step]!
    return { atMost, count: seen, sumMs: this.#sumMs }
  }
}

/** Middle of a step, in ms. Below 8 µs a step is one value of the microsecond clock. */
function middle(step: number): number {
  return (LAYOUT.edges[step]! + LAYOUT.edges[step + 1]!) / 2_000
}
