/** What the simulator promises for fleets in which clients and servers are of several kinds. */
import { describe, expect, it } from 'vitest'
import { mean } from '../../bench/simulator/mean.ts'
import { figuresQ } from '../../bench/simulator/mixed-report.ts'

describe('simulation: mixed fleets', { timeout: 300_000 }, () => {
  it('old clients, old, late and lying servers cost what is known, and nothing is left', () => {
    const { figures, rows } = figuresQ(101)
    // Neither the clients that change nor those that do not lose anything.
    expect(figures.p99OverBefore).toBeLessThan(1)
    expect(figures.p50OverBefore).toBeLessThan(1.08)
    expect(figures.lateP99OverBefore).toBeLessThan(1.05)
    // A tenth of the servers lie as cleverly as they can.
    expect(figures.liarShare).toBeLessThan(6)
    expect(figures.liarShare).toBeGreaterThan(1)
    expect(figures.p99WithLiarsOverHonest).toBeLessThan(2.2)
    expect(figures.leastShare).toBeGreaterThan(0.04)
    expect(figures.failedTogether).toBeLessThan(1.2)
    expect(figures.left).toBe(0)
    for (const { fleet, failed } of rows) if (fleet !== 'all at once') expect(failed).toBe(0)
  })

  it('the mean over seeds is that of each number, however deep', () => {
    const of = (n: number) => ({ what: 'a', n, rows: [{ k: n }, { k: 2 * n, none: undefined }] })
    expect(mean([of(1), of(3)])).toEqual(of(2))
  })
})
