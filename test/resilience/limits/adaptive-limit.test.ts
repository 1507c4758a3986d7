import { describe, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import { outcome, SUCCESS } from '../../../src/core/outcome.ts'
import {
  ADAPTIVE_LIMIT,
  AdaptiveLimit,
  type AdaptiveLimitOptions,
} from '../../../src/resilience/limits/adaptive-limit.ts'
import { gradient2, type LimitAlgorithm, type LimitMemory } from '../../../src/resilience/limits/algorithms.ts'
import { CONCURRENCY_LIMIT, ConcurrencyLimitPolicy } from '../../../src/resilience/limits/concurrency-limit.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt } from '../conformance.ts'

const LATE = outcome('failure', 'deadline-exceeded')

/**
 * A server with `workers` and a queue before them, offered `load` times what it can do, in
 * Poisson arrivals.
 */
function serve(
  options: AdaptiveLimitOptions & { workers: number; workMs: number; load: number; even?: boolean; seed?: number },
) {
  const { workers, load, even = false, seed = 1, ...rest } = options
  let { workMs } = options
  const { workMs: _, ...limits } = rest
  const clock = new FakeClock({ seed })
  const limit = new AdaptiveLimit(ADAPTIVE_LIMIT.resolve(limits), clock)
  const waiting: { at: number; inFlight: number }[] = []
  let inFlight = 0
  let busy = 0
  let done = 0
  let took: number[] = []
  const begin = (job: { at: number; inFlight: number }): void => {
    busy += 1
    const ms = workMs * (even ? 0.9 + clock.random() / 5 : -Math.log(1 - clock.random()))
    clock.startTimer(
      ms,
      () => {
        busy -= 1
        inFlight -= 1
        done += 1
        took.push(clock.now() - job.at)
        limit.sample(job.at, job.inFlight, SUCCESS)
        const next = waiting.shift()
        if (next !== undefined) begin(next)
      },
      undefined,
    )
  }
  const perMs = workers / workMs
  const arrive = (): void => {
    clock.startTimer(-Math.log(1 - clock.random()) / (perMs * load), arrive, undefined)
    if (inFlight >= limit.limit) return
    inFlight += 1
    const job = { at: clock.now(), inFlight }
    if (busy < workers) begin(job)
    else waiting.push(job)
  }
  arrive()
  return {
    limit,
    slowDown: (factor: number) => {
      workMs *= factor
    },
    /** Goodput as a share of capacity, and mean latency, over the next `ms`. */
    run: (ms: number) => {
      done = 0
      took = []
      clock.advance(ms)
      return { goodput: (done * workMs) / (workers * ms), meanMs: took.reduce((a, b) => a + b, 0) / took.length }
    },
  }
}

describe('an adaptive limit', () => {
  const cases: [LimitAlgorithm, number, number, boolean][] = [
    ['vegas', 10, 10, false],
    ['vegas', 10, 10, true],
    ['vegas', 4, 20, false],
    ['vegas', 100, 50, false],
    ['gradient2', 10, 10, false],
    ['gradient2', 10, 10, true],
    ['gradient2', 100, 50, false],
  ]
  it.each(cases)(
    '(%s) keeps %i workers of %i ms busy and the queue short at three times the load',
    (algorithm, workers, workMs, even) => {
      const server = serve({ algorithm, workers, workMs, load: 3, even })
      server.run(20_000)
      const { goodput, meanMs } = server.run(20_000)
      expect(goodput).toBeGreaterThan(0.9)
      expect(meanMs / workMs).toBeLessThan(3)
    },
  )

  it.each(['vegas', 'gradient2'] as const)('(%s) does not climb without end while overload lasts', (algorithm) => {
    const server = serve({ algorithm, workers: 10, workMs: 10, load: 3, even: true })
    server.run(300_000)
    expect(server.limit.limit).toBeLessThan(45)
  })

  it('refuses nothing at ordinary load', () => {
    const server = serve({ workers: 20, workMs: 20, load: 0.6 })
    server.run(10_000)
    expect(server.run(10_000).goodput).toBeGreaterThan(0.57)
  })

  it('finds out that the work itself has become slower, and goes back to full use', () => {
    const server = serve({ workers: 10, workMs: 10, load: 3 })
    server.run(20_000)
    server.slowDown(5)
    server.run(70_000)
    expect(server.run(20_000).goodput).toBeGreaterThan(0.9)
  })

  it('shrinks when work runs out of time, not for the odd call with too little time', () => {
    const clock = new FakeClock()
    const limit = new AdaptiveLimit(ADAPTIVE_LIMIT.resolve(), clock)
    const feed = (windows: number, lateOneIn: number): void => {
      for (let i = 0; i < windows * 100; i++) {
        clock.advance(5)
        limit.sample(clock.now() - 10, limit.limit, i % lateOneIn === 0 ? LATE : SUCCESS)
      }
    }
    feed(5, 50)
    const before = limit.limit
    expect(before).toBeGreaterThanOrEqual(20)
    feed(30, 2)
    expect(limit.limit).toBeLessThan(before / 2)
  })

  it('teaches itself nothing from what was given up or failed at once', () => {
    const clock = new FakeClock()
    const limit = new AdaptiveLimit(ADAPTIVE_LIMIT.resolve(), clock)
    for (let i = 0; i < 5_000; i++) {
      clock.advance(1)
      limit.sample(
        clock.now(),
        20,
        i % 2 === 0 ? outcome('cancelled', 'cancelled') : outcome('failure', 'server-error'),
      )
    }
    expect(limit.limit).toBe(20)
  })

  it('(aimd) loses a tenth for a loss, gains one when it is used, and stays within its bounds', () => {
    const clock = new FakeClock()
    const told: number[] = []
    const settings = ADAPTIVE_LIMIT.resolve({ algorithm: 'aimd', initial: 40, min: 10, max: 60 })
    const limit = new AdaptiveLimit(settings, clock, (to) => told.push(to))
    const feed = (n: number, end = SUCCESS): void => {
      for (let i = 0; i < n; i++) {
        clock.advance(2)
        limit.sample(clock.now(), limit.limit, end)
      }
    }
    feed(160)
    expect(limit.limit).toBe(41)
    feed(164, outcome('failure', 'overloaded', undefined, 503))
    expect(limit.limit).toBe(36)
    feed(20_000, LATE)
    expect(limit.limit).toBe(10)
    feed(20_000)
    expect(limit.limit).toBe(60)
    expect(told).toContain(60)
  })

  it('keeps what it learned when its bounds change', () => {
    const server = serve({ workers: 10, workMs: 10, load: 3 })
    server.run(20_000)
    const before = server.limit.limit
    server.limit.configure(ADAPTIVE_LIMIT.resolve({ max: 500 }))
    expect(server.limit.limit).toBe(before)
    server.limit.configure(ADAPTIVE_LIMIT.resolve({ max: 5 }))
    expect(server.limit.limit).toBe(5)
  })

  it('(gradient2) cannot take an overloaded latency for the usual one', () => {
    const memory: LimitMemory = { baselineMs: 10, longMs: 0 }
    let limit = 50
    for (let i = 0; i < 2_000; i++) limit = gradient2(limit, { meanMs: 40, inFlight: limit, dropped: 0 }, memory)
    expect(limit).toBeLessThan(10)
  })
})

describe('shares of callers', () => {
  function setUp(shares: Record<string, '50%' | '25%'>) {
    const clock = new FakeClock()
    const policy = new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 4, shares }), clock)
    const ask = (peer: string | undefined): Attempt | undefined => {
      const call = callAt(clock)
      call.peer = peer
      const attempt = new Attempt(call)
      return policy.admit(attempt) === undefined ? attempt : undefined
    }
    return { policy, ask }
  }

  it('are borrowed while idle, and had by their owner even then', () => {
    const { policy, ask } = setUp({ checkout: '50%' })
    const batch = [1, 2, 3, 4].map(() => ask('batch'))
    expect(batch.every((attempt) => attempt !== undefined)).toBe(true)
    expect(ask('batch')).toBeUndefined()
    expect(ask(undefined)).toBeUndefined()
    const own = [ask('checkout'), ask('checkout')]
    expect(own.every((attempt) => attempt !== undefined)).toBe(true)
    expect(ask('checkout')).toBeUndefined()
    for (const attempt of [...batch, ...own]) policy.settle(attempt!, SUCCESS)
    expect(policy.inFlight).toBe(0)
  })

  it('count again from what runs when they change', () => {
    const { policy, ask } = setUp({ checkout: '25%' })
    const running = [ask('checkout'), ask('batch'), ask('batch'), ask('batch')]
    policy.configure(CONCURRENCY_LIMIT.resolve({ concurrency: 4, shares: { checkout: '25%', batch: '25%' } }))
    expect(ask('checkout')).toBeUndefined()
    expect(ask('batch')).toBeDefined()
    for (const attempt of running) policy.settle(attempt!, SUCCESS)
    expect(policy.inFlight).toBe(1)
  })

  it('and kinds of limits are checked with the kind they look like', () => {
    const of = (options: unknown) => () => CONCURRENCY_LIMIT.resolve(options as never)
    expect(of({ concurrency: 'adaptve' })).toThrow(/concurrency: expected 'adaptive'.*whole number from 1/)
    expect(of({ concurrency: { algoritm: 'vegas' } })).toThrow(/concurrency\.algoritm.*did you mean 'algorithm'/)
    expect(of({ concurrency: 4, shares: { a: '60%', b: 0.6 } })).toThrow(/shares: the shares are 120% together/)
    expect(of({ concurrency: 4, shares: { 'A B': 0.1 } })).toThrow(/no name of a service/)
    expect(CONCURRENCY_LIMIT.resolve({ concurrency: { min: 9, max: 5 } }).concurrency).toMatchObject({
      min: 5,
      max: 5,
      initial: 5,
    })
  })

  it('an adaptive limit goes on with what runs when it replaces a fixed one', () => {
    const clock = new FakeClock()
    const policy = new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 1 }), clock)
    const first = new Attempt(callAt(clock))
    expect(policy.admit(first)).toBeUndefined()
    policy.configure(CONCURRENCY_LIMIT.resolve({ concurrency: 'adaptive' }))
    expect([policy.limit, policy.inFlight, policy.adaptive]).toEqual([20, 1, true])
    policy.settle(first, SUCCESS)
    expect(policy.inFlight).toBe(0)
  })
})
