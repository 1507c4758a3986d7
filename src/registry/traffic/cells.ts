/**
 * Sums of series over steps of time: what a question needs, as one registry knows it. Cells of
 * several registries add up.
 */

import { encodeDigest } from '../../telemetry/traffic/latency-digest.ts'
import { OTHER } from '../../telemetry/traffic/traffic-message.ts'
import { RecordReader } from './records.ts'
import type { Series, SeriesName, SeriesTable } from './series-table.ts'
import { MINUTE_MS, type Span } from './slots.ts'
import { takeShare } from './spread.ts'
import { Totals } from './totals.ts'
import type { Traffic } from './traffic.ts'

/** Records between two turns of the event loop: about 2 ms. */
const PORTION = 2_000
/** Kinds of cells in one answer; what is more is summed up by caller. */
const MOST_NAMES = 20_000

/** By what cells are kept apart; caller and called always are. */
export type Part = Exclude<keyof SeriesName, 'from' | 'to'>

export interface CellsQuestion {
  /** On the clock of the rings. */
  readonly span: Span
  readonly stepMs: number
  readonly by: readonly Part[]
  /** Only calls from or to this service. */
  readonly service?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  /** Only calls that named this service, wherever a route led them. */
  readonly called?: string | undefined
}

/** Absent texts are empty, absent numbers 0. */
export interface Cell extends Partial<Omit<SeriesName, 'from' | 'to'>> {
  /** Number of the step, from 0. */
  readonly step: number
  readonly from: string
  readonly to: string
  readonly calls?: number
  readonly codes?: Readonly<Record<string, number>>
  readonly retries?: number
  readonly hedges?: number
  readonly mirrored?: number
  /** A digest. */
  readonly ms?: string
}

export async function cellsOf(traffic: Traffic, question: CellsQuestion): Promise<Cell[]> {
  const { span, stepMs } = question
  const { rings, table } = traffic
  const names = new Names(table, question)
  const steps = new Map<number, Map<Name, Totals>>()
  let records = 0
  for (const packed of rings.within(span, stepMs >= MINUTE_MS)) {
    const cells = new Map<Name, Totals>()
    for (const chunk of packed.chunks) {
      const reader = new RecordReader(chunk)
      while (reader.next()) {
        const name = names.of(reader.series)
        if (name === undefined) reader.skip()
        else reader.addTo(totalsOf(cells, name))
        records += 1
        if (records % PORTION === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    }
    divide(steps, cells, { from: packed.from - span.from, to: packed.to - span.from }, stepMs)
  }
  return [...steps].flatMap(([step, cells]) => [...cells].map(([name, totals]) => cellOf(step, name, totals, table)))
}

/** Over the steps of a slot or a minute: one, unless the steps are finer than what is kept. */
function divide(
  steps: Map<number, Map<Name, Totals>>,
  cells: ReadonlyMap<Name, Totals>,
  { from, to }: Span,
  stepMs: number,
): void {
  const part = new Totals()
  const count = Math.max(1, Math.round((to - from) / stepMs))
  for (let i = 0; i < count; i++) {
    const middle = from + ((to - from) * (i + 0.5)) / count
    const step = Math.max(0, Math.floor(middle / stepMs))
    const sums = steps.get(step) ?? new Map<Name, Totals>()
    steps.set(step, sums)
    for (const [name, totals] of cells) {
      takeShare(totals, 1 / (count - i), part)
      totalsOf(sums, name).add(part)
    }
  }
}

function totalsOf(cells: Map<Name, Totals>, name: Name): Totals {
  let totals = cells.get(name)
  if (totals === undefined) {
    totals = new Totals()
    cells.set(name, totals)
  }
  return totals
}

/** What the calls of a cell have in common: one object for all series that are summed up. */
type Name = Pick<Series, 'from' | 'to'> & Partial<Pick<Series, Part>>

class Names {
  readonly #table: SeriesTable
  readonly #question: CellsQuestion
  readonly #bySeries = new Map<number, Name | undefined>()
  readonly #byKey = new Map<string, Name>()

  constructor(table: SeriesTable, question: CellsQuestion) {
    this.#table = table
    this.#question = question
  }

  /** `undefined`: the question is about others. */
  of(id: number): Name | undefined {
    if (this.#bySeries.has(id)) return this.#bySeries.get(id)
    const series = this.#table.get(id)
    const name = series !== undefined && isAsked(series, this.#question) ? this.#nameOf(series) : undefined
    this.#bySeries.set(id, name)
    return name
  }

  #nameOf(series: Series): Name {
    const { from, to } = series
    const name: Record<string, string | boolean> = { from, to }
    for (const part of this.#question.by) {
      const value = series[part]
      if (value !== '' && value !== undefined) name[part] = value
    }
    return (
      this.#shared(name as unknown as Name) ?? this.#shared({ from, to: OTHER }) ?? this.#byKey.values().next().value!
    )
  }

  #shared(name: Name): Name | undefined {
    const key = JSON.stringify(name)
    const known = this.#byKey.get(key)
    if (known !== undefined || this.#byKey.size >= (name.to === OTHER ? 2 : 1) * MOST_NAMES) return known
    this.#byKey.set(key, name)
    return name
  }
}

function isAsked({ from, to, via }: Series, question: CellsQuestion): boolean {
  if (question.called !== undefined && (via === '' ? to : via) !== question.called) return false
  if (question.service !== undefined && from !== question.service && to !== question.service) return false
  if (question.from !== undefined && from !== question.from) return false
  return question.to === undefined || to === question.to
}

function cellOf(step: number, name: Name, totals: Totals, table: { codeName(id: number): string }): Cell {
  const { calls, codes, retries, hedges, mirrored } = totals
  const ms = encodeDigest(totals.steps)
  return {
    step,
    ...name,
    ...(calls > 0 && { calls }),
    ...(codes.size > 0 && { codes: Object.fromEntries([...codes].map(([code, n]) => [table.codeName(code), n])) }),
    ...(retries > 0 && { retries }),
    ...(hedges > 0 && { hedges }),
    ...(mirrored > 0 && { mirrored }),
    ...(ms !== '' && { ms }),
  }
}
