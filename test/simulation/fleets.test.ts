/**
 * What the default balancer promises where many clients call many servers. The seeds are others
 * than those it was built on; the bounds have a tenth of slack.
 */
import { describe, expect, it } from 'vitest'
import { type Fleet, type FleetPolicy, type FleetRow, runFleet } from '../../bench/simulator/fleet.ts'
import { FLEETS, type FleetName } from '../../bench/simulator/fleets.ts'
import { randomFaults } from '../../bench/simulator/random-fleet.ts'

const SEED = 101
const before = { balancer: 'peak-ewma' } as const
const own = { balancer: 'least-load' } as const
const reported = { balancer: 'least-load', reports: 1 } as const

/** A shorter run of one stage. */
function run(name: FleetName, policy: FleetPolicy, ms = 6_000, load?: number): FleetRow {
  const fleet: Fleet = FLEETS[name]
  const stage = { load: load ?? fleet.stages[0]!.load, ms }
  return runFleet(SEED, { ...fleet, stages: [stage] }, policy)[0]!
}

describe('simulation: many clients and servers', { timeout: 120_000 }, () => {
  it('the last answers are worth most of what is to be had where each client knows little of each server', () => {
    const p99 = run('sparse', before).p99Ms
    expect(run('sparse', own).p99Ms).toBeLessThan(0.45 * p99)
    expect(run('sparse', reported).p99Ms).toBeLessThan(0.42 * p99)
  })

  it('where it knows next to nothing, what servers report is worth something, too', () => {
    const p99 = run('verySparse', before, 25_000).p99Ms
    expect(run('verySparse', own, 25_000).p99Ms).toBeLessThan(0.75 * p99)
    expect(run('verySparse', reported, 25_000).p99Ms).toBeLessThan(0.65 * p99)
  })

  it.each(['hetero', 'heteroAntagonists', 'far', 'skewed', 'heavyTail', 'calm'] as const)(
    'it is better than before at p99 and no worse at p50: %s',
    (name) => {
      const then = run(name, before)
      const now = run(name, own)
      expect(now.p99Ms).toBeLessThan(0.95 * then.p99Ms)
      expect(now.p50Ms).toBeLessThan(1.03 * then.p50Ms)
      expect(run(name, reported).p50Ms).toBeLessThan(1.01 * now.p50Ms)
    },
  )

  it('in a mixed fleet, servers that report and others both have their part, and calls lose nothing', () => {
    const half = run('sparse', { balancer: 'least-load', reports: 0.5 })
    expect(half.p99Ms).toBeLessThan(1.1 * run('sparse', own).p99Ms)
    expect(run('hetero', { balancer: 'least-load', reports: 0.5 }).p99Ms).toBeLessThan(1.1 * run('hetero', own).p99Ms)
  })

  it('beyond what the machines are allocated nothing fails, and p99 rises by a third at most', () => {
    const usual = run('ramp', own, 6_000, 0.7)
    const beyond = run('ramp', own, 6_000, 1.3)
    expect(beyond.failed).toBe(0)
    expect(beyond.p99Ms).toBeLessThan(1.4 * usual.p99Ms)
  })

  it('fewer calls fail under faults, and what is slow in the middle of a run gets fewer calls', () => {
    expect(run('faults', own, 25_000).failed).toBeLessThan(0.5 * run('faults', before, 25_000).failed)
    expect(run('slowMiddle', own, 24_000).toFaulty).toBeLessThan(0.9 * run('slowMiddle', before, 24_000).toFaulty)
  })

  it('random faults in random fleets fail fewer calls', () => {
    const then = randomFaults(SEED, 8, before).failedPercent
    expect(randomFaults(SEED, 8, own).failedPercent).toBeLessThan(0.5 * then)
    expect(randomFaults(SEED, 8, reported).failedPercent).toBeLessThan(0.5 * then)
  })
})
