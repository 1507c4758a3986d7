/**
 * What the simulator promises of routes, for several seeds: destinations, routes, targets and
 * failover levels are the real ones.
 */
import { describe, expect, it } from 'vitest'
import { splitUnderChurn } from '../../bench/simulator/i-split.ts'
import { stickyOverChanges } from '../../bench/simulator/j-sticky.ts'
import { failoverThereAndBack } from '../../bench/simulator/k-failover.ts'

describe.each([1, 2, 3])('simulation with seed %i', { timeout: 60_000 }, (seed) => {
  it('a split of 90 to 10 holds under churn: no target is starved, and no call is lost or strays', () => {
    const split = splitUnderChurn(seed)
    expect(split).toMatchObject({ calls: 10_000, lost: 0, strayed: 0 })
    expect(split.changes).toBeGreaterThan(50)
    expect(Math.abs(split.greenShare - 0.1)).toBeLessThan(0.01)
    expect(split.mostOff).toBeLessThanOrEqual(1)
    expect(split.longestWithout).toBeLessThan(20)
  })

  it('failover goes there and back in proportion, without a lost call', () => {
    const failover = failoverThereAndBack(seed)
    expect(failover.calls).toBeGreaterThan(50_000)
    expect(failover).toMatchObject({ lost: 0, whole: 1, fourOfFive: 1, next: 1, last: 1, back: 1 })
    // 1.4 times two of five.
    expect(failover.twoOfFive).toBeCloseTo(0.56, 1)
    // Endpoints that came back are found by probes, 10 s apart at most.
    expect(failover.backAfterMs).toBeLessThanOrEqual(15_000)
  })
})

it('over 1,000 changes of weights a user moves only to what gained weight', { timeout: 60_000 }, () => {
  const sticky = stickyOverChanges(1)
  expect(sticky).toMatchObject({ changes: 1_000, wrongMoves: 0, disagreements: 0 })
  // The users do move, and to where the weights say.
  expect(sticky.moves).toBeGreaterThan(1_000)
  expect(sticky.mostOff).toBeLessThan(0.1)
})
