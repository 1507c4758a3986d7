/**
 * What the simulator promises, for several seeds: the policies are the real ones, only transport,
 * time and chance are made up.
 */
import { describe, expect, it } from 'vitest'
import { SLOW_ENDPOINT_POLICIES, slowEndpoint } from '../../bench/simulator/a-slow-endpoint.ts'
import { figuresB, figuresC, figuresD, figuresE, figuresF, figuresG, figuresH } from '../../bench/simulator/report.ts'

const SEEDS = [1, 2, 3, 4, 5]

type Key = (typeof SLOW_ENDPOINT_POLICIES)[number]['key']

function success(seed: number, key: Key, caller: 'waits' | 'abandons'): number {
  return slowEndpoint(seed, SLOW_ENDPOINT_POLICIES.find((policy) => policy.key === key)!, caller).success
}

describe('simulation: an endpoint of eleven becomes slow', () => {
  it.each(SEEDS)(
    'the default balancer loses at most four calls in ten thousand, without hedge and retry (seed %i)',
    (seed) => {
      expect(success(seed, 'default', 'waits')).toBeGreaterThanOrEqual(99.96)
      expect(success(seed, 'default', 'abandons')).toBeGreaterThanOrEqual(99.96)
    },
  )

  it.each(SEEDS)('with the default retry nothing is lost (seed %i)', (seed) => {
    expect(success(seed, 'defaultWithRetry', 'abandons')).toBe(100)
  })

  it('the others lose what they are known to lose, so the scenario is the one that is meant', () => {
    expect(success(1, 'roundRobin', 'waits')).toBeCloseTo(95.45, 1)
    expect(success(1, 'leastRequest', 'waits')).toBeCloseTo(99.5, 1)
    expect(success(1, 'plainEwma', 'waits')).toBeCloseTo(99.93, 1)
  })

  it('repeats exactly by its seed, and differs by another', () => {
    const policy = SLOW_ENDPOINT_POLICIES[3]!
    const once = slowEndpoint(7, policy, 'waits')
    expect(slowEndpoint(7, policy, 'waits')).toEqual(once)
    expect(slowEndpoint(8, policy, 'waits')).not.toEqual(once)
  })
})

describe.each(SEEDS.slice(0, 3))('simulation with seed %i', (seed) => {
  it('a slow endpoint gets little and comes back, a cold one is not flooded, a dead one costs next to nothing', () => {
    const { figures } = figuresB(seed)
    expect(figures.slowShareOfFair).toBeLessThan(0.25)
    expect(figures.recoveredShareOfFairAfter5s).toBeGreaterThanOrEqual(0.8)
    expect(figures.coldPeakShareOfFair).toBeLessThanOrEqual(2)
    expect(figures.deadFailedPercent).toBeLessThan(0.5)
    expect(figures.deadProbesPer30s).toBeLessThan(5)
    expect(figures.deadProbesPer30s).toBeGreaterThan(0)
    expect(figures.illFailedPercent).toBeLessThan(0.5)
    expect(figures.illShareOfFairAfter12s).toBeGreaterThan(0.8)
  })

  it('an endpoint that fails fast does not look fast', () => {
    const { figures, rows } = figuresC(seed)
    expect(figures.fastFailShare).toBeLessThanOrEqual(0.02)
    // Without a word about failures it attracts twice its fair share.
    expect(rows.at(-1)!.share).toBeGreaterThan(0.3)
  })

  it('three tiers of retries stay below 1.75 times the offered load', () => {
    const { figures } = figuresD(seed)
    expect(figures.amplification).toBeLessThanOrEqual(1.75)
    // What took another way without the budget is bounded by ejection.
    expect(figures.amplificationWhereNobodyListens).toBeLessThanOrEqual(1.75)
  })

  it('an instance that is dead or leaves in order costs no call, in a burst far beyond the retry budget', () => {
    expect(figuresH(seed).figures).toEqual({ lostToTheDead: 0, lostToTheLeaving: 0 })
  })

  it('a burst is over when it is over, because retries have a budget', () => {
    const { figures } = figuresE(seed)
    expect(figures.goodputAfter10s).toBeGreaterThanOrEqual(0.95)
    expect(figures.goodputWithoutBudget).toBeLessThan(0.5)
  })

  it('the default costs little where nothing is wrong', () => {
    expect(figuresG(seed).figures.p99OverLeastRequest).toBeLessThan(1.2)
  })

  it('an adaptive limit keeps an overloaded server busy and fast', () => {
    const { figures, rows } = figuresF(seed)
    expect(figures.goodput).toBeGreaterThanOrEqual(0.85)
    expect(figures.p99OverUnloaded).toBeLessThanOrEqual(3)
    expect(rows.at(-1)!.goodput).toBeLessThan(0.5)
  })
})
