/**
 * Whole weights for given shares: some targets get a share of all, the others keep their
 * proportions exactly wherever whole weights can say them.
 */

/** The totals that people read as percent, tried first. */
const ROUND_TOTALS = [100n, 1_000n, 10_000n, 100_000n, 1_000_000n] as const
/** The largest weight that a document takes. */
const LARGEST = 1_000_000n
/** Of one whole, in hundredths of a percent. */
const WHOLE = 10_000

/**
 * `wanted`: by index, the share in hundredths of a percent. Returns the weights, or why there are
 * none. Weights that have the shares already are returned as they are.
 */
export function shareOut(weights: readonly number[], wanted: ReadonlyMap<number, number>): readonly number[] | string {
  const given = [...wanted.values()].reduce((sum, share) => sum + share, 0)
  if (given > WHOLE) return `the shares are ${given / 100}% together; at most 100% can be given`
  const rest = WHOLE - given
  const others = [...weights.keys()].filter((i) => !wanted.has(i))
  if (others.length === 0 && rest > 0) return `the shares of all targets are ${given / 100}% together; expected 100%`
  let among = others.reduce((sum, i) => sum + weights[i]!, 0)
  const alone = others.length === 1
  if (among === 0 && rest > 0 && !alone) {
    return `${rest / 100}% are left for targets that have weight 0 and so no proportions; give their shares too`
  }
  if (among === 0) among = 1
  const exact = weights.map((weight, i) => {
    const share = wanted.get(i)
    return share === undefined ? BigInt(rest) * BigInt(alone ? among : weight) : BigInt(share) * BigInt(among)
  })
  return hasShares(weights, exact) ? weights : whole(exact)
}

function hasShares(weights: readonly number[], exact: readonly bigint[]): boolean {
  const [total, wantedTotal] = [weights.reduce((sum, one) => sum + BigInt(one), 0n), sumOf(exact)]
  return weights.every((weight, i) => BigInt(weight) * wantedTotal === exact[i]! * total)
}

function whole(exact: readonly bigint[]): readonly number[] {
  const total = sumOf(exact)
  for (const round of ROUND_TOTALS) {
    if (exact.every((one) => (one * round) % total === 0n)) return exact.map((one) => Number((one * round) / total))
  }
  const divisor = exact.reduce(greatestCommonDivisor)
  const reduced = exact.map((one) => one / divisor)
  if (reduced.every((one) => one <= LARGEST)) return reduced.map(Number)
  const largest = exact.reduce((most, one) => (one > most ? one : most))
  // No target that has a share loses it.
  return exact.map((one) => (one === 0n ? 0 : Math.max(1, Math.round(Number((one * LARGEST * 10n) / largest) / 10))))
}

function sumOf(values: readonly bigint[]): bigint {
  return values.reduce((sum, one) => sum + one, 0n)
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [large, small] = [a, b]
  while (small !== 0n) [large, small] = [small, large % small]
  return large
}
