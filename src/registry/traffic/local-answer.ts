/**
 * What one registry knows of a window of time, in a form that adds up with the answers of others.
 * Instants are ms since the start of the window, so that clocks of registries need not agree.
 */
import { type Cell, cellsOf, type Part } from './cells.ts'
import type { MarkedState } from './marks.ts'
import { SLOT_MS, type Span } from './slots.ts'
import type { Traffic } from './traffic.ts'

export interface LocalQuestion {
  /** How long ago the window ended. */
  readonly agoMs: number
  readonly windowMs: number
  readonly stepMs: number
  readonly by: readonly Part[]
  /** As {@link CellsQuestion} has them. */
  readonly service?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly called?: string | undefined
}

/** A process that was expected to report during a part of the window. */
export interface ProcessSpan extends Span {
  readonly name: string
  readonly service: string
  /** False: it is of an older version and says nothing. */
  readonly reports: boolean
  /** What was not heard of it. */
  readonly holes: readonly (readonly [from: number, to: number])[]
  /** Wall clock, ms: of the certificate of its session, while it has one. */
  readonly notAfter?: number
}

/** Calls from one service to another that have not ended, as of now. */
export type InFlight = readonly [from: string, to: string, calls: number]

export interface LocalAnswer {
  readonly registry: string
  /** From when on it knows anything; below 0 if its slots reach before the window. */
  readonly sinceMs: number
  readonly cells: readonly Cell[]
  readonly processes: readonly ProcessSpan[]
  /** At the end of the window; of the latest one, now. */
  readonly states: readonly MarkedState[]
  readonly inFlight: readonly InFlight[]
}

/** The window, on the clock of the rings. */
export function windowOf(traffic: Traffic, { agoMs, windowMs }: LocalQuestion): Span {
  const to = Math.min(Math.round((traffic.now() - agoMs) / SLOT_MS) * SLOT_MS, traffic.rings.settledUntil)
  return { from: to - windowMs, to }
}

export async function answerLocally(traffic: Traffic, registry: string, question: LocalQuestion): Promise<LocalAnswer> {
  await traffic.work()
  const span = windowOf(traffic, question)
  const cells = await cellsOf(traffic, { ...question, span })
  const [first] = traffic.rings.within(span, question.stepMs >= 60_000)
  const processes = [...spansOf(traffic, span)]
  const isLatest = span.to >= traffic.rings.settledUntil - SLOT_MS
  const alive = new Set(processes.filter(({ to }) => to >= span.to - span.from).map(({ name }) => name))
  return {
    registry,
    sinceMs: (first?.from ?? span.to) - span.from,
    cells,
    processes,
    // An open circuit is not news of a window that ended ten seconds ago.
    states: [...traffic.marks.statesAt(isLatest ? traffic.now() : span.to, (process) => alive.has(process))],
    inFlight: inFlightOf(traffic),
  }
}

function* spansOf(traffic: Traffic, window: Span): IterableIterator<ProcessSpan> {
  for (const process of traffic.processes.all()) {
    const { name, service, reports, history, session } = process
    const from = Math.max(history.since, window.from)
    const to = Math.min(history.until ?? window.to, window.to)
    if (from >= to) continue
    const holes = history.holesIn({ from, to }, traffic.assumedUntil(process))
    yield {
      name,
      service,
      reports,
      from: Math.round(from - window.from),
      to: Math.round(to - window.from),
      holes: holes.map((hole) => [Math.round(hole.from - window.from), Math.round(hole.to - window.from)]),
      ...(session !== undefined && Number.isFinite(session.notAfter) && { notAfter: session.notAfter }),
    }
  }
}

function inFlightOf({ processes, table }: Traffic): InFlight[] {
  const sums = new Map<string, [string, string, number]>()
  for (const { inFlight } of processes.expected()) {
    for (const [id, calls] of inFlight) {
      const series = table.get(id)
      if (series === undefined) continue
      const key = `${series.from}\n${series.to}`
      const sum = sums.get(key)
      if (sum === undefined) sums.set(key, [series.from, series.to, calls])
      else sum[2] += calls
    }
  }
  return [...sums.values()]
}
