import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../../src/resilience/backoff.ts'
import { RATE_LIMIT, RateLimitPolicy } from '../../src/resilience/limits/rate-limit.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import { WindowedCounts } from '../../src/resilience/windowed-counts.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const steps = fc.array(
  fc.record({ pause: fc.integer({ min: 0, max: 400 }), kind: fc.constantFrom('deposit', 'withdraw') }),
  { maxLength: 400 },
)

describe('retry budget', () => {
  it('never grants more than its share and its floor, over any second of any sequence', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom(0, 0.2, 1), fc.constantFrom(0, 3, 10), (sequence, ratio, minPerSecond) => {
        const clock = new FakeClock()
        const budget = new RetryBudget({ ratio, minPerSecond }, clock)
        const deposits: number[] = []
        const granted: number[] = []
        for (const { pause, kind } of sequence) {
          clock.advance(pause)
          if (kind === 'deposit') {
            budget.deposit()
            deposits.push(clock.now())
          } else if (budget.tryWithdraw()) granted.push(clock.now())
          // A grant uses the balance of the last second, which a deposit one second older may have
          // fed.
          const last = granted.filter((at) => at > clock.now() - 900).length
          const fed = deposits.filter((at) => at > clock.now() - 2_000).length
          expect(last).toBeLessThanOrEqual(fed * ratio + minPerSecond + 1e-6)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('gives back the floor when withdrawals have left the window', () => {
    const clock = new FakeClock()
    const budget = new RetryBudget({ ratio: 0, minPerSecond: 10 }, clock)
    const drain = (): number => {
      let granted = 0
      while (budget.tryWithdraw()) granted += 1
      return granted
    }
    expect(drain()).toBe(10)
    clock.advance(500)
    expect(drain()).toBe(0)
    clock.advance(500)
    expect(drain()).toBe(10)
  })

  it('keeps its balance when it is configured anew', () => {
    const clock = new FakeClock()
    const budget = new RetryBudget({ ratio: 1, minPerSecond: 0 }, clock)
    for (let i = 0; i < 5; i++) budget.deposit()
    budget.configure({ ratio: 0.5, minPerSecond: 0 })
    expect(Math.round(budget.balance)).toBe(5)
  })
})

describe('tally', () => {
  it('counts exactly what lies within its ten slices', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ pause: fc.integer({ min: 0, max: 4_000 }), bad: fc.boolean() }), { maxLength: 100 }),
        (events) => {
          const tally = new WindowedCounts(0)
          const seen: { at: number; bad: boolean }[] = []
          let now = 0
          for (const { pause, bad } of events) {
            now += pause
            tally.add(now, bad)
            seen.push({ at: now, bad })
            const inside = seen.filter(({ at }) => Math.floor(at / 1_000) > Math.floor(now / 1_000) - 10)
            expect(tally.total(now)).toBe(inside.length)
            expect(tally.bad(now)).toBe(inside.filter((event) => event.bad).length)
          }
        },
      ),
    )
  })
})

describe('rate limit', () => {
  it('admits the burst and then its rate, over any sequence', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 300 }),
        fc.constantFrom(1, 7, 50),
        fc.constantFrom(1, 3, 20),
        (pauses, ratePerSecond, burst) => {
          const clock = new FakeClock()
          const policy = new RateLimitPolicy(RATE_LIMIT.resolve({ rate: ratePerSecond, burst }), clock)
          const admitted: number[] = []
          for (const pause of pauses) {
            clock.advance(pause)
            if (policy.admit() === undefined) admitted.push(clock.now())
          }
          for (let i = 0; i < admitted.length; i++) {
            for (let j = i; j < admitted.length; j++) {
              expect(j - i + 1).toBeLessThanOrEqual(
                burst + ((admitted[j]! - admitted[i]!) * ratePerSecond) / 1_000 + 1e-6,
              )
            }
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  it('says when it will admit again, and does', () => {
    const clock = new FakeClock()
    const policy = new RateLimitPolicy(RATE_LIMIT.resolve({ rate: '10/s', burst: 2 }), clock)
    expect([policy.admit(), policy.admit(), policy.admit()]).toEqual([undefined, undefined, 'rate-limited'])
    expect(policy.retryAfterMs).toBe(100)
    clock.advance(policy.retryAfterMs)
    expect(policy.admit()).toBeUndefined()
  })
})

describe('backoff', () => {
  it('is uniform below a bound that doubles up to the maximum', () => {
    const clock = new FakeClock()
    for (const [retry, bound] of [25, 50, 100, 200, 250, 250].entries()) {
      const waits = Array.from({ length: 500 }, () =>
        backoffMs({ baseMs: 25, maxMs: 250, leastMs: 0, jitter: 'full' }, retry, 0, clock),
      )
      expect(Math.max(...waits)).toBeLessThan(bound)
      expect(Math.max(...waits)).toBeGreaterThan(bound * 0.9)
      expect(Math.min(...waits)).toBeLessThan(bound * 0.1)
    }
  })

  it('of the equal family is between half of that bound and the bound', () => {
    const clock = new FakeClock()
    for (const [retry, bound] of [25, 50, 100, 200, 250].entries()) {
      const waits = Array.from({ length: 500 }, () =>
        backoffMs({ baseMs: 25, maxMs: 250, leastMs: 0, jitter: 'equal' }, retry, 0, clock),
      )
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(bound / 2)
      expect(Math.min(...waits)).toBeLessThan(bound * 0.6)
      expect(Math.max(...waits)).toBeLessThan(bound)
    }
  })

  it('of the decorrelated family is between the base and three times the last wait, up to the maximum', () => {
    const clock = new FakeClock()
    for (const [last, bound] of [
      [0, 75],
      [40, 120],
      [200, 250],
    ] as const) {
      const waits = Array.from({ length: 500 }, () =>
        backoffMs({ baseMs: 25, maxMs: 250, leastMs: 0, jitter: 'decorrelated' }, 3, last, clock),
      )
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(25)
      expect(Math.max(...waits)).toBeLessThanOrEqual(bound)
      expect(Math.max(...waits)).toBeGreaterThan(bound * 0.9)
    }
  })
})
