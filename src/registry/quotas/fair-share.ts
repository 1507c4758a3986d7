/**
 * Weighted max-min fairness, Doorman's FAIR_SHARE: what small claims leave goes to the larger ones,
 * in equal parts for each unit of weight.
 */

export interface Claim {
  readonly wants: number
  /** More than 0: how many claimants it stands for. */
  readonly weight: number
}

/**
 * Shares of `capacity`, in the order of the claims. Each gets at least what it wants or its part by
 * weight, whichever is less. What all together do not want is spread by weight, so that the sum is
 * `capacity`.
 */
export function fairShares(capacity: number, claims: readonly Claim[]): number[] {
  const shares = new Array<number>(claims.length).fill(0)
  const order = [...claims.keys()].sort(
    (a, b) => claims[a]!.wants / claims[a]!.weight - claims[b]!.wants / claims[b]!.weight,
  )
  const total = claims.reduce((sum, { weight }) => sum + weight, 0)
  let left = capacity
  let weights = total
  for (const i of order) {
    const { wants, weight } = claims[i]!
    const share = Math.min(wants, left * Math.min(1, weight / weights))
    shares[i] = share
    left = Math.max(0, left - share)
    weights -= weight
  }
  return left === 0 ? shares : shares.map((share, i) => share + left * (claims[i]!.weight / total))
}
