/**
 * The arithmetic of failover: how ordered levels of endpoints share the load. These are Envoy's
 * priority levels, in fractions instead of whole percents.
 */

/**
 * A level has so much more capacity than its calls need: it keeps all of them while at least 71 %
 * (1 / 1.4) of it is healthy (Envoy's overprovisioning factor).
 */
export const OVERPROVISIONING = 1.4

/** 1.4 times 5 / 7 may be just below 1. */
const ROUNDING = 1e-9

/** One level, as far as its share depends on it. */
export interface LevelCapacity {
  /** The healthy share of its capacity, from 0 to 1; 0 if it is empty. */
  readonly healthy: number
  /** Too few of its endpoints are healthy to carry what it would get. */
  readonly failing: boolean
  /** What it offers if no level has a healthy endpoint, by weight; 0 if it is empty. */
  readonly reserve: number
}

export interface LevelShares {
  /** The part of the load of each level, from 0 to 1; all 0 if all levels are empty. */
  readonly shares: readonly number[]
  /** All levels together carry the whole load, so none of them need panic. */
  readonly carried: boolean
}

/**
 * Each level gets as much as its health allows, in order; the next ones get the rest. Levels that
 * cannot carry the whole load together share it by their health. If all of them are failing, they
 * share it by size, as a service in panic does.
 */
export function shareLoad(levels: readonly LevelCapacity[]): LevelShares {
  const health = levels.map(({ healthy }) => Math.min(1, OVERPROVISIONING * healthy + ROUNDING))
  for (const [i, { healthy }] of levels.entries()) if (healthy === 0) health[i] = 0
  const total = health.reduce((sum, each) => sum + each, 0)
  const carried = total >= 1
  const inUse = levels.filter(({ healthy, reserve }) => healthy > 0 || reserve > 0)
  if (!carried && inUse.every(({ healthy, failing }) => failing || healthy === 0)) {
    const reserve = levels.reduce((sum, each) => sum + each.reserve, 0)
    return { shares: levels.map((each) => (reserve === 0 ? 0 : each.reserve / reserve)), carried }
  }
  let left = 1
  const shares = health.map((each) => {
    const share = Math.min(left, each / Math.min(1, total))
    left -= share
    return share
  })
  // Only rounding is left. Its place is where calls may go.
  shares[health.findIndex((each) => each > 0)]! += left
  return { shares, carried }
}
