import { describe, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import { SILENT } from '../../../src/core/telemetry.ts'
import { startAttempt } from '../../../src/resilience/execution.ts'
import {
  type Demand,
  GlobalRateLimitPolicy,
  type QuotaLease,
} from '../../../src/resilience/limits/global-rate-limit.ts'
import { GLOBAL_RATE, type GlobalRateOptions } from '../../../src/resilience/limits/global-rate-settings.ts'
import { RateLimitPolicy } from '../../../src/resilience/limits/rate-limit.ts'
import { LIMITS } from '../../../src/resilience/limits/settings.ts'
import { compileServerStack, ServerLimits } from '../../../src/resilience/stack.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt } from '../conformance.ts'

function setUp(options: GlobalRateOptions, instances = 4) {
  const clock = new FakeClock()
  const reports: Demand[] = []
  const leased: boolean[] = []
  const host = {
    report: (demand: Demand) => void reports.push(demand),
    instances: () => instances,
    leased: (is: boolean) => void leased.push(is),
  }
  const policy = new GlobalRateLimitPolicy(GLOBAL_RATE.resolve(options), clock, host)
  const ask = (times: number, caller?: string): number => {
    let admitted = 0
    for (let i = 0; i < times; i++) {
      const call = callAt(clock)
      call.peer = caller
      if (policy.admit(new Attempt(call)) === undefined) admitted += 1
    }
    return admitted
  }
  const lease = (change: Partial<QuotaLease> = {}): QuotaLease => {
    return { leaseMs: 10_000, ratePerSecond: 100, byCaller: false, share: 60, callers: new Map(), ...change }
  }
  return { clock, policy, ask, lease, reports, leased }
}

describe('the share of a global rate', () => {
  it('is an equal one without a lease, and the leased one until the lease ends', () => {
    const { clock, policy, ask, lease, leased } = setUp({ rate: 100 })
    expect(policy.share).toBe(25)
    policy.grant(lease())
    expect([policy.share, policy.isLeased]).toEqual([60, true])
    expect(ask(100)).toBe(15)
    clock.advance(9_999)
    ask(1)
    expect(policy.share).toBe(60)
    // It is looked at ten times a second.
    clock.advance(100)
    expect([policy.share, policy.isLeased]).toEqual([25, false])
    expect(leased).toEqual([true, false])
  })

  it('is of the rate of our own document while the registry has another', () => {
    const { policy, lease } = setUp({ rate: 100 })
    policy.grant(lease())
    policy.configure(GLOBAL_RATE.resolve({ rate: 50 }))
    expect(policy.share).toBe(30)
    policy.grant(lease({ byCaller: true }))
    expect(policy.share).toBe(12.5)
  })

  it('is by caller where callers have the rate each', () => {
    const { policy, ask, lease } = setUp({ rate: 100, by: ['caller'] })
    policy.grant(lease({ byCaller: true, share: 20, callers: new Map([['checkout', 80]]) }))
    expect([ask(100, 'checkout'), ask(100, 'audit'), ask(100)]).toEqual([20, 5, 5])
    expect(ask(1, 'checkout')).toBe(0)
  })

  it('refuses with a code of its own, after the limits of the instance', () => {
    const clock = new FakeClock()
    const limits = new ServerLimits(clock, undefined, { report: () => {}, instances: () => 1 })
    limits.configure(LIMITS.resolve({ concurrency: 10, rate: 6, global: { rate: 1 } }))
    const stack = compileServerStack({ state: limits, telemetry: SILENT, clock })
    expect(stack.service.map(({ name }) => name)).toEqual(['concurrency-limit', 'rate-limit', 'global-rate-limit'])
    const codes = Array.from({ length: 6 }, () => startAttempt(stack, new Attempt(callAt(clock))))
    expect(codes).toEqual([...Array(4).fill(undefined), ...Array(2).fill('global-rate-limited')])
    limits.configure(LIMITS.resolve({ global: false }))
    expect(limits.globalRate).toBeUndefined()
    expect(clock.timers).toBe(0)
  })
})

describe('the demand', () => {
  it('counts what is refused, and is told soon after the first request', () => {
    const { clock, ask, reports } = setUp({ rate: 100 })
    ask(50)
    clock.advance(100)
    expect(reports).toHaveLength(1)
    expect(reports[0]![0]![0]).toBe('*')
    expect(reports[0]![0]![1]).toBeGreaterThanOrEqual(500)
  })

  it('is told about once a second while it drifts, and no more when it has ended', () => {
    const { clock, ask, reports } = setUp({ rate: 1_000 }, 1)
    for (let i = 0; i < 100; i++) {
      ask(10 + Math.floor(i / 10))
      clock.advance(100)
    }
    expect(reports.length).toBeGreaterThan(5)
    expect(reports.length).toBeLessThan(15)
    clock.advance(5_000)
    expect(reports.at(-1)).toEqual([['*', 0]])
    const told = reports.length
    clock.advance(60_000)
    expect(reports).toHaveLength(told)
    expect(clock.timers).toBe(0)
  })

  it('is told anew to a registry that knows nothing of it', () => {
    const { policy, reports } = setUp({ rate: 100 })
    policy.announce()
    expect(reports).toEqual([[['*', 0]]])
  })

  it('is of the busiest hundred callers, and forgets those that have left', () => {
    const { clock, policy, ask, reports } = setUp({ rate: 1_000, by: ['caller'] })
    for (let i = 0; i < 1_500; i++) ask(i < 100 ? 5 : 1, `c${i}`)
    clock.advance(100)
    expect(reports[0]).toHaveLength(100)
    expect(reports[0]!.map(([caller]) => caller).sort()).toEqual(Array.from({ length: 100 }, (_, i) => `c${i}`).sort())
    clock.advance(20_000)
    ask(1, 'late')
    clock.advance(100)
    policy.announce()
    expect(reports.at(-1)!.map(([caller]) => caller)).toEqual(['late'])
  })
})

describe('a rate limit whose rate changes', () => {
  it('keeps what is not paid for as a number of requests', () => {
    const clock = new FakeClock()
    const policy = new RateLimitPolicy({ ratePerSecond: 1, burst: 4, maxWaitMs: undefined }, clock)
    for (let i = 0; i < 4; i++) expect(policy.admit()).toBeUndefined()
    expect(policy.retryAfterMs).toBe(1_000)
    policy.configure({ ratePerSecond: 100, burst: 4 })
    expect(policy.retryAfterMs).toBe(10)
    policy.configure({ ratePerSecond: 1_000, burst: 1_000 })
    expect(policy.retryAfterMs).toBe(0)
    for (let i = 0; i < 996; i++) policy.admit()
    policy.configure({ ratePerSecond: 2, burst: 1 })
    expect(policy.retryAfterMs).toBe(500)
  })
})
