import { describe, expect, it } from 'vitest'
import { createBalancer } from '../../../src/client/balancing/balancer.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import type { LoadReport } from '../../../src/core/load-report.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint as made } from '../../resilience/conformance.ts'

const ours = (inFlight: number, latencyMs: number): LoadReport => ({ inFlight, latencyMs, servedMs: latencyMs })
const foreign = (capacity: number): LoadReport => ({ inFlight: 0, latencyMs: 0, servedMs: 0, capacity })

function setUp(size: number) {
  const clock = new FakeClock()
  clock.advance(1_000)
  const endpoints = Array.from({ length: size }, (_, i) => made(`e${i}`))
  const { balancer, policy } = createBalancer('weighted-round-robin', clock, undefined, true)
  const picker = balancer.picker(endpoints)
  const answer = (at: Endpoint, report: LoadReport | undefined, tookMs = 20, ended = SUCCESS): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now() - tookMs
    attempt.endedAt = clock.now()
    attempt.report = report
    policy!.settle(attempt, ended)
  }
  /** For `ms`, an answer of each endpoint every 500 ms. */
  const run = (ms: number, reports: readonly (LoadReport | undefined)[], tookMs: readonly number[] = []): void => {
    for (let spent = 0; spent < ms; spent += 500) {
      clock.advance(500)
      for (const [i, endpoint] of endpoints.entries()) answer(endpoint, reports[i], tookMs[i])
    }
  }
  /** The shares of 1,000 picks, in percent, after the next update. */
  const shares = (): number[] => {
    clock.advance(1_000)
    const counts = new Map<Endpoint, number>(endpoints.map((each) => [each, 0]))
    for (let i = 0; i < 1_000; i++) {
      const picked = picker.pick(callAt(clock))!
      counts.set(picked, counts.get(picked)! + 1)
    }
    return [...counts.values()].map((count) => Math.round(count / 10))
  }
  return { clock, endpoints, answer, run, shares }
}

describe('weighted round robin by reports', () => {
  it('gives an endpoint twice as fast twice as many calls, whatever the load', () => {
    for (const others of [0, 3, 30]) {
      const { run, shares } = setUp(2)
      run(15_000, [ours(others, 10 * (others + 1)), ours(others, 20 * (others + 1))], [20, 20])
      expect(shares()).toEqual([67, 33])
    }
  })

  it('gives one that is as fast with twice as many in flight as many calls as it could serve', () => {
    const { run, shares } = setUp(2)
    run(15_000, [ours(3, 20), ours(1, 20)])
    expect(shares()).toEqual([67, 33])
  })

  it('takes what foreign servers could serve', () => {
    const { run, shares } = setUp(3)
    run(15_000, [foreign(100), foreign(300), ours(0, 10)])
    expect(shares()).toEqual([20, 60, 20])
  })

  it('gives those that do not report the mean', () => {
    const { run, shares } = setUp(3)
    run(15_000, [foreign(100), undefined, foreign(300)])
    expect(shares()).toEqual([17, 33, 50])
  })

  it('gives one that does not report less than that while it is slower than usual', () => {
    const { run, shares } = setUp(3)
    run(15_000, [foreign(100), undefined, foreign(100)], [20, 80, 20])
    expect(shares()[1]).toBeLessThan(15)
  })

  it('multiplies the weights of endpoints, and calls none of weight 0', () => {
    const { endpoints, run, shares } = setUp(3)
    endpoints[0]!.weight = 2
    run(15_000, [foreign(100), foreign(100), foreign(100)])
    expect(shares()).toEqual([50, 25, 25])
    const other = setUp(3)
    other.endpoints[0]!.weight = 0
    const picker = createBalancer('weighted-round-robin', other.clock, undefined, true).balancer.picker(other.endpoints)
    other.run(15_000, [foreign(100), foreign(100), foreign(300)])
    for (let i = 0; i < 100; i++) expect(picker.pick(callAt(other.clock))).not.toBe(other.endpoints[0])
  })

  it('counts all alike until reports are ten seconds old, of two endpoints at least', () => {
    const { run, shares } = setUp(3)
    run(8_000, [foreign(100), foreign(100), foreign(300)])
    expect(shares()).toEqual([33, 33, 33])
    run(4_000, [foreign(100), foreign(100), foreign(300)])
    expect(shares()).toEqual([20, 20, 60])
    const lonely = setUp(3)
    lonely.run(15_000, [undefined, undefined, foreign(300)])
    expect(lonely.shares()).toEqual([33, 33, 33])
  })

  it('forgets reports after three minutes', () => {
    const { clock, run, shares } = setUp(2)
    run(15_000, [foreign(100), foreign(300)])
    clock.advance(170_000)
    expect(shares()).toEqual([25, 75])
    clock.advance(10_000)
    expect(shares()).toEqual([50, 50])
    run(2_000, [foreign(100), foreign(300)])
    expect(shares()).toEqual([50, 50])
  })

  it('bounds a weight that a server claims, and by what we measure of it', () => {
    const { run, shares } = setUp(4)
    run(15_000, [foreign(100), foreign(1e9), foreign(100), foreign(100)])
    expect(shares()).toEqual([8, 77, 8, 8])
    const slow = setUp(4)
    slow.run(15_000, [foreign(100), foreign(1e9), foreign(100), foreign(100)], [20, 200, 20, 20])
    expect(slow.shares()[1]).toBeLessThanOrEqual(8)
  })

  it('gives an endpoint that fails fast less, whatever it reports', () => {
    const { clock, endpoints, answer, shares } = setUp(4)
    const failed = outcome('failure', 'server-error', undefined, 500)
    for (let i = 0; i < 40; i++) {
      clock.advance(500)
      for (const [at, endpoint] of endpoints.entries()) {
        answer(endpoint, foreign(100), 20, at === 1 && i % 2 === 0 ? failed : SUCCESS)
      }
    }
    expect(shares()[1]).toBeLessThan(20)
  })

  it('gives all of weight 0 what they can serve, as long as no endpoint has another weight', () => {
    const { endpoints, run, shares } = setUp(3)
    for (const each of endpoints) each.weight = 0
    run(15_000, [foreign(100), foreign(100), foreign(300)])
    expect(shares()).toEqual([20, 20, 60])
  })

  it('takes no report that is overtaken, empty or comes with a failure', () => {
    const { clock, endpoints, answer, run, shares } = setUp(2)
    run(15_000, [foreign(100), foreign(300)])
    answer(endpoints[0]!, { ...foreign(1_000), arrivedAt: clock.now() - 5 })
    answer(endpoints[0]!, { inFlight: 0, latencyMs: 0, servedMs: 0 })
    answer(endpoints[0]!, ours(-1, 1))
    answer(endpoints[0]!, foreign(1_000), 20, outcome('cancelled', 'cancelled'))
    expect(shares()).toEqual([25, 75])
  })

  it('spreads picks evenly across an update of the weights', () => {
    const { clock, endpoints, run } = setUp(10)
    const { balancer, policy } = createBalancer('weighted-round-robin', clock, undefined, true)
    expect(policy).toBeDefined()
    const picker = balancer.picker(endpoints)
    run(
      15_000,
      endpoints.map(() => foreign(100)),
    )
    const counts = new Map<Endpoint, number>()
    for (let i = 0; i < 300; i++) {
      if (i % 30 === 0) clock.advance(1_000)
      const picked = picker.pick(callAt(clock))!
      counts.set(picked, (counts.get(picked) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(Math.abs(count - 30)).toBeLessThanOrEqual(2)
  })
})
