/** What came of the calls, by the instant at which they began. */

/** Part of a run. Percentiles are of the calls that did not fail; `null` if all did. */
export interface Interval {
  readonly fromMs: number
  readonly untilMs: number
  readonly calls: number
  readonly failed: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  /** Retries and hedges. */
  readonly retries: number
  /** By their own beginning, as is the next. */
  readonly attempts: number
  /** To servers that have a fault at some time, if others have none. */
  readonly toFaulty: number
}

/** What began within one cell. */
interface Cell {
  calls: number
  retries: number
  attempts: number
  toFaulty: number
  readonly durations: number[]
}

const CELL_MS = 100

export class Timeline {
  readonly #cells: Cell[]
  readonly #durationMs: number

  constructor(durationMs: number) {
    this.#durationMs = durationMs
    this.#cells = Array.from({ length: Math.ceil(durationMs / CELL_MS) }, () => ({
      calls: 0,
      retries: 0,
      attempts: 0,
      toFaulty: 0,
      durations: [],
    }))
  }

  /** A call began. It has failed unless it succeeds. */
  began(startedAt: number): void {
    this.#at(startedAt).calls += 1
  }

  succeeded(startedAt: number, ms: number): void {
    this.#at(startedAt).durations.push(ms)
  }

  retried(startedAt: number): void {
    this.#at(startedAt).retries += 1
  }

  attempted(now: number, faulty: boolean): void {
    const cell = this.#at(now)
    cell.attempts += 1
    if (faulty) cell.toFaulty += 1
  }

  /** Rows of `ms` each; the last may be shorter. */
  rows(ms: number): readonly Interval[] {
    return Array.from({ length: Math.ceil(this.#durationMs / ms) }, (_, i) =>
      this.between(i * ms, Math.min((i + 1) * ms, this.#durationMs)),
    )
  }

  /** Of the cells that begin in it. */
  between(fromMs: number, untilMs: number): Interval {
    const part = this.#cells.slice(Math.ceil(fromMs / CELL_MS), Math.ceil(untilMs / CELL_MS))
    const durations = Float64Array.from(part.flatMap((cell) => cell.durations)).sort()
    const sum = (key: Exclude<keyof Cell, 'durations'>): number => part.reduce((all, cell) => all + cell[key], 0)
    const calls = sum('calls')
    return {
      ...{ fromMs, untilMs, calls },
      failed: calls - durations.length,
      p50Ms: percentile(durations, 0.5),
      p99Ms: percentile(durations, 0.99),
      retries: sum('retries'),
      attempts: sum('attempts'),
      toFaulty: sum('toFaulty'),
    }
  }

  #at(instant: number): Cell {
    return this.#cells[Math.min(this.#cells.length - 1, Math.floor(instant / CELL_MS))]!
  }
}

function percentile(sorted: Float64Array, share: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
}
