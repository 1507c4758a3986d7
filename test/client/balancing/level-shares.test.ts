import { describe, expect, it } from 'vitest'
import { type LevelCapacity, shareLoad } from '../../../src/client/balancing/level-shares.ts'

/** Healthy shares in percent; below half a level is failing. All levels have `reserve` 1 or so. */
const levels = (...percents: readonly number[]): LevelCapacity[] =>
  percents.map((percent) => ({ healthy: percent / 100, failing: percent < 50, reserve: 1 }))

const percents = (capacities: readonly LevelCapacity[]): number[] =>
  shareLoad(capacities).shares.map((share) => Math.round(share * 100))

describe('levels share the load', () => {
  // The examples of Envoy's documentation of priority levels, in its order.
  it.each([
    [
      [100, 100],
      [100, 0],
    ],
    [
      [72, 72],
      [100, 0],
    ],
    [
      [71, 71],
      [99, 1],
    ],
    [
      [50, 50],
      [70, 30],
    ],
    [
      [25, 100],
      [35, 65],
    ],
    [
      [25, 25],
      [50, 50],
    ],
    [
      [0, 100],
      [0, 100],
    ],
    [
      [100, 100, 100],
      [100, 0, 0],
    ],
    [
      [72, 72, 100],
      [100, 0, 0],
    ],
    [
      [71, 71, 100],
      [99, 1, 0],
    ],
    [
      [50, 50, 100],
      [70, 30, 0],
    ],
    [
      [25, 100, 100],
      [35, 65, 0],
    ],
    [
      [25, 25, 100],
      [35, 35, 30],
    ],
  ])('healthy shares of %j give %j', (healthy, expected) => {
    expect(percents(levels(...healthy))).toEqual(expected)
  })

  it('is whole for the first one while five of its seven endpoints are healthy', () => {
    expect(shareLoad(levels((100 * 5) / 7, 100)).shares).toEqual([1, 0])
  })

  it('goes by health where all levels together are too weak, and one is not failing', () => {
    expect(percents(levels(55, 10))).toEqual([85, 15])
    expect(shareLoad(levels(55, 10)).carried).toBe(false)
  })

  it('goes by size where all levels are failing', () => {
    const capacities = [
      { healthy: 0.4, failing: true, reserve: 30 },
      { healthy: 0, failing: true, reserve: 70 },
      { healthy: 0, failing: false, reserve: 0 },
    ]
    expect(shareLoad(capacities)).toEqual({ shares: [0.3, 0.7, 0], carried: false })
  })

  it('is nothing where no level has an endpoint that can be reached', () => {
    const empty = { healthy: 0, failing: false, reserve: 0 }
    expect(shareLoad([empty, empty])).toEqual({ shares: [0, 0], carried: false })
  })

  it('always adds up to one', () => {
    for (let seed = 1; seed < 2_000; seed++) {
      const capacities = levels((seed * 37) % 101, (seed * 61) % 101, (seed * 17) % 101)
      expect(shareLoad(capacities).shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9)
    }
  })
})
