/** One recorded call for each bucket of a histogram, so that a slow one leads to its trace. */
import type { TraceContext } from '../core/trace-context.ts'

/** The last recorded call of one bucket. */
export interface Exemplar {
  traceId: string
  spanId: string
  ms: number
  /** Wall clock, ms since 1970. */
  at: number
}

export class Exemplars {
  readonly #boundaries: readonly number[]
  readonly #last: (Exemplar | undefined)[]

  /** Upper bounds of the buckets in ms; one more bucket has no end. */
  constructor(boundaries: readonly number[]) {
    this.#boundaries = boundaries
    this.#last = new Array(boundaries.length + 1).fill(undefined)
  }

  /** A later one of the same bucket replaces it. */
  keep({ traceId, spanId }: TraceContext, ms: number, at: number): void {
    const found = this.#boundaries.findIndex((boundary) => ms <= boundary)
    const bucket = found < 0 ? this.#boundaries.length : found
    const known = this.#last[bucket]
    if (known === undefined) this.#last[bucket] = { traceId, spanId, ms, at }
    else Object.assign(known, { traceId, spanId, ms, at })
  }

  /** `bucket`: its place among the boundaries; the place after them is the one without an end. */
  of(bucket: number): Exemplar | undefined {
    return this.#last[bucket]
  }
}
