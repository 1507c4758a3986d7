/** What the runs of the real fleet tell beside the simulator's: rows of a table, and targets. */
import { round, single, type Target } from '../harness.ts'
import type { Measures, Recovery } from './measures.ts'

export type Row = Readonly<Record<string, string | number>>

/** Two balancers have a predicted order if one has at most this share of the other's figure. */
const CLEAR = 0.85
const COMPARED = ['misplaced', 'ahead', 'waitMs'] as const

export function mean(all: readonly Measures[]): Measures {
  const keys = Object.keys(all[0]!) as (keyof Measures)[]
  const of = (key: keyof Measures): number => all.reduce((sum, one) => sum + one[key], 0) / all.length
  return Object.fromEntries(keys.map((key) => [key, of(key)])) as never
}

/** `found`: a run each. Figures are means, with what the simulator predicts in brackets. */
export function steadyRow(scenario: string, balancer: string, found: readonly Measures[], predicted: Measures): Row {
  const [mine, theirs] = [mean(found), predicted]
  const both = (key: keyof Measures, digits: number, factor = 1): string =>
    `${round(mine[key] * factor, digits)} (${round(theirs[key] * factor, digits)})`
  return {
    scenario,
    balancer,
    requests: Math.round(mine.calls * found.length),
    'waited, %': both('waited', 0, 100),
    'beside an idle worker, %': both('misplaced', 0, 100),
    'ahead of each': both('ahead', 2),
    'wait, ms': both('waitMs', 0),
    'p99 of it': both('p99WaitMs', 0),
    'to slower servers': both('slowerShare', 2),
  }
}

/** Both are a run each; shown are the worst of them. */
export function recoveryRow(balancer: string, found: readonly Recovery[], predicted: readonly Recovery[]): Row {
  const most = (all: readonly Recovery[], key: keyof Recovery): number => Math.max(...all.map((one) => one[key]))
  const both = (key: keyof Recovery): string => `${Math.round(most(found, key))} (${Math.round(most(predicted, key))})`
  return {
    balancer,
    'failed during it': both('failedDuring'),
    'failed until a first answer': both('failedBefore'),
    'ms until it': both('firstAnswerMs'),
    'calls after it': both('after'),
    'failed of these': both('failedAfter'),
    'ms until all servers have calls': both('allUsedMs'),
  }
}

/**
 * Pairs of balancers that the simulator clearly puts into another order than the real runs do.
 * Both are lists in the order of the balancers, `found` of all runs of each.
 */
export function disorder(
  key: keyof Measures,
  predicted: readonly Measures[],
  found: readonly (readonly Measures[])[],
): { readonly pairs: number; readonly wrong: number } {
  const means = found.map((runs) => mean(runs)[key])
  let [pairs, wrong] = [0, 0]
  for (const [i, better] of predicted.entries()) {
    for (const [j, worse] of predicted.entries()) {
      if (better[key] > worse[key] * CLEAR) continue
      pairs += 1
      if (means[i]! >= means[j]!) wrong += 1
    }
  }
  return { pairs, wrong }
}

export function orderTargets(
  scenario: string,
  predicted: readonly Measures[],
  found: readonly (readonly Measures[])[],
): Target[] {
  return COMPARED.map((key) => {
    const { pairs, wrong } = disorder(key, predicted, found)
    const what = `${scenario}, ${key}: of ${pairs} pairs of balancers, those in another order than predicted`
    return { what, found: single(wrong), wanted: { atMost: 0 } }
  })
}
