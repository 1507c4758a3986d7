/** Percentiles of latencies, and medians with their spread of rounds. */

/**
 * The smallest value that at least `share` of all values do not exceed (nearest rank). NaN for
 * none.
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/**
 * The median, and between which values the middle half lies: one round that was disturbed moves
 * neither.
 */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** Of an even number of values, the mean of the two in the middle. */
export function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort()
  const half = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
  return { median, low: percentile(values, 0.25), high: percentile(values, 0.75) }
}
