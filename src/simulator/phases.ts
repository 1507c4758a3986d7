/** The parts of a run between the instants at which faults begin and end. */
import type { Scenario } from './scenario.ts'

export interface Phase {
  readonly fromMs: number
  readonly untilMs: number
  /** The faults that hold in it, as they are written. */
  readonly faults: readonly string[]
}

export function phasesOf({ faults, durationMs }: Pick<Scenario, 'faults' | 'durationMs'>): readonly Phase[] {
  const edges = new Set([0, durationMs])
  for (const { fromMs, untilMs } of faults) edges.add(fromMs).add(Math.min(untilMs, durationMs))
  const sorted = [...edges].sort((a, b) => a - b)
  return sorted.slice(1).map((untilMs, i) => ({
    fromMs: sorted[i]!,
    untilMs,
    faults: faults.filter((fault) => fault.fromMs < untilMs && fault.untilMs > sorted[i]!).map(({ name }) => name),
  }))
}
