/** The calls of an edge or a service as points in time. */
import type { Asked } from './ask.ts'
import type { Cell } from './cells.ts'
import { Coverage, type CoverageSummary } from './coverage.ts'
import type { LocalAnswer } from './local-answer.ts'
import { rounded } from './rounded.ts'
import { type Figures, Sums } from './sums.ts'

export interface SeriesPoint extends Figures {
  /** Wall clock, ms: the start of the step. */
  readonly at: number
  /** The share of the step of which nothing was heard; `null`: no registry listened. */
  readonly gap: number | null
}

export interface TrafficSeriesAnswer {
  readonly at: number
  readonly windowMs: number
  readonly stepMs: number
  readonly coverage: CoverageSummary
  readonly points: readonly SeriesPoint[]
}

export interface SeriesWindow {
  /** Wall clock, ms. */
  readonly at: number
  readonly windowMs: number
  readonly stepMs: number
  /** The services whose processes report what is asked; all callers if it is `undefined`. */
  readonly reporters: readonly string[] | undefined
}

export function seriesOf({ answers, unreachable }: Asked, window: SeriesWindow): TrafficSeriesAnswer {
  const { at, windowMs, stepMs } = window
  const coverage = new Coverage(answers)
  const sinceMs = Math.min(...answers.map((one) => one.sinceMs))
  const steps = stepsOf(answers, Math.ceil(windowMs / stepMs))
  const reporters = window.reporters ?? callersIn(answers)
  const points = steps.map((cells, i): SeriesPoint => {
    const span = { from: i * stepMs, to: Math.min((i + 1) * stepMs, windowMs) }
    const known = span.to - Math.max(span.from, sinceMs)
    const gap = coverage.gap(reporters, span)
    const sums = new Sums()
    for (const cell of cells) sums.add(cell)
    return {
      at: Math.round(at - windowMs + span.from),
      ...sums.figures(Math.max(0, known) / 1_000, gap < 1),
      gap: known <= 0 ? null : rounded(gap),
    }
  })
  return {
    at: Math.round(at),
    windowMs,
    stepMs,
    coverage: coverage.summary(answers, unreachable),
    points,
  }
}

function stepsOf(answers: readonly LocalAnswer[], count: number): Cell[][] {
  const steps: Cell[][] = Array.from({ length: count }, () => [])
  for (const { cells } of answers) for (const cell of cells) steps[Math.min(cell.step, count - 1)]?.push(cell)
  return steps
}

/** Those that called at all: of the others, silence says nothing about the service. */
function callersIn(answers: readonly LocalAnswer[]): string[] {
  return [...new Set(answers.flatMap(({ cells }) => cells.map(({ from, to }) => (from === '' ? to : from))))]
}
