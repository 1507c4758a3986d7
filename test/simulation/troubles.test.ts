/** What the simulator promises when something is wrong with many endpoints, for several seeds. */
import { describe, expect, it } from 'vitest'
import { failuresInPart } from '../../bench/simulator/o-failures-in-part.ts'
import { zonesByLoad } from '../../bench/simulator/p-zones.ts'
import { figuresN } from '../../bench/simulator/troubles-report.ts'

describe.each([1, 2])('simulation with seed %i', { timeout: 120_000 }, (seed) => {
  it('after a total outage all endpoints come back at once, and nothing fails beyond what is still ill', () => {
    const { figures, rows } = figuresN(seed)
    expect(figures.failedAfter).toBe(0)
    expect(figures.allBackMs).toBeLessThan(1_000)
    // The scenario is the one that is meant: circuits open, and many calls follow.
    expect(rows.some(({ opened }) => opened > 0)).toBe(true)
    for (const { calls } of rows) expect(calls).toBeGreaterThan(10_000)
  })

  it('an endpoint that fails in part leaves the choice', () => {
    expect(failuresInPart(seed, '30 % fail').failedPercent).toBeLessThan(0.35)
    expect(failuresInPart(seed, 'half fail in 1 ms').failedPercent).toBeLessThan(0.35)
    expect(failuresInPart(seed, 'a third of the servers fail 30 %').failedPercent).toBeLessThan(2.8)
  })

  it('where all fail alike, comparison ejects none', () => {
    expect(failuresInPart(seed, 'none').unfounded).toBe(0)
    expect(failuresInPart(seed, 'all fail 2 %').unfounded).toBeLessThan(5)
  })

  it('callers of any zone lose nothing, and stay in their zone while it can bear them', () => {
    const ofOne = zonesByLoad(seed, 'in zone a', 6)
    expect(ofOne.failedAtPeakPercent).toBeLessThan(0.05)
    expect(ofOne.failed).toBeLessThan(50)
    expect(ofOne.localAt20).toBeGreaterThan(0.6)
    expect(ofOne.local).toBeGreaterThan(0.26)
    const ofAll = zonesByLoad(seed, 'in all zones', 6)
    expect(ofAll.failedAtPeakPercent).toBeLessThan(0.05)
    expect(ofAll.failed).toBeLessThan(50)
    expect(ofAll.localAt20).toBeGreaterThan(0.9)
    expect(ofAll.local).toBeGreaterThan(0.79)
  })
})
