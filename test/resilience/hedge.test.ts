import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import type { Call } from '../../src/core/call.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import type { Cluster } from '../../src/core/picker.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION } from '../../src/resilience/ejection-settings.ts'
import {
  endAttempt,
  endCall,
  hedgeDelay,
  NOT_DECISIVE,
  startAttempt,
  startCall,
  startHedge,
} from '../../src/resilience/execution.ts'
import { HEDGE, HedgePolicy, LOST } from '../../src/resilience/hedge.ts'
import { LatencyWindows } from '../../src/resilience/latency-windows.ts'
import { CONCURRENCY_LIMIT, ConcurrencyLimitPolicy } from '../../src/resilience/limits/concurrency-limit.ts'
import { FINAL, RETRY, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import type { Stack } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE, KIND } from './conformance.ts'

function setUp(options: { seed?: number; minPerSecond?: number; endpoints?: number } = {}) {
  const clock = new FakeClock({ seed: options.seed ?? 1 })
  const endpoints = Array.from({ length: options.endpoints ?? 3 }, (_, i) => endpoint(`e${i}`))
  const cluster: Cluster = {
    service: 'inventory',
    endpoints,
    picker: {
      pick: (call) => endpoints.find((each) => call.tried?.includes(each) !== true) ?? endpoints[0],
    },
    whenAvailable: () => () => {},
    onChange: () => () => {},
  }
  const retry = RETRY.resolve({ budget: { ratio: 0.2, minPerSecond: options.minPerSecond ?? 10 } })
  const budget = new RetryBudget(retry.budget, clock)
  const events: string[] = []
  const hedge = new HedgePolicy('inventory', HEDGE.resolve({ after: 20, maxExtraLoad: 1 }), clock, (_, what) =>
    events.push(what),
  )
  const limit = new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 100 }))
  const ejection = new EjectionPolicy(EJECTION.resolve({ consecutiveFailures: 2 }), clock)
  const calls = new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 100 }))
  const stack: Stack = {
    timeoutMs: 10_000,
    service: [calls],
    endpoint: [limit, ejection],
    retry: new RetryPolicy(retry, budget, clock),
    budget,
    hedge,
    cluster,
    telemetry: SILENT,
    clock,
  }
  const begin = (call: Call): Attempt => {
    const attempt = new Attempt(call)
    expect(startAttempt(stack, attempt)).toBeUndefined()
    return attempt
  }
  const both = (): { call: Call; late: Attempt; beside: Attempt } => {
    const call = callAt(clock)
    startCall(stack, call)
    const late = begin(call)
    clock.advance(hedgeDelay(stack, late))
    const beside = new Attempt(call)
    expect(startHedge(stack, beside)).toBe(true)
    return { call, late, beside }
  }
  const balanced = (): boolean =>
    limit.inFlight === 0 && calls.inFlight === 0 && endpoints.every((each) => each.pending === 0)
  return { clock, stack, begin, both, balanced, endpoints, budget, hedge, events, limit, calls }
}

describe('a hedged call', () => {
  it('goes to another endpoint, and the first success ends it', () => {
    const { stack, both, balanced, endpoints, events } = setUp()
    const { call, late, beside } = both()
    expect([late.endpoint, beside.endpoint]).toEqual([endpoints[0], endpoints[1]])
    expect(call.running).toBe(2)
    expect(endAttempt(stack, beside, SUCCESS)).toBe(FINAL)
    expect(call.outcome).toBe(SUCCESS)
    expect(endAttempt(stack, late, LOST)).toBe(NOT_DECISIVE)
    expect(call.outcome).toBe(SUCCESS)
    expect(endpoints[0]!.state).toBe('healthy')
    expect(events).toEqual(['sent', 'won'])
    expect(balanced()).toBe(true)
  })

  it('waits after a failure for the attempt that still runs', () => {
    const { stack, both, balanced } = setUp()
    const { call, late, beside } = both()
    expect(endAttempt(stack, late, FAILURE)).toBe(NOT_DECISIVE)
    expect(call.settled).toBe(false)
    expect(endAttempt(stack, beside, SUCCESS)).toBe(FINAL)
    expect(call.outcome).toBe(SUCCESS)
    expect(balanced()).toBe(true)
  })

  it('is repeated once if both fail, on an endpoint that neither had, and within the limit of attempts', () => {
    const { stack, both, begin, endpoints, balanced } = setUp()
    const { call, late, beside } = both()
    const lost = outcome('failure', 'connection-lost')
    expect(endAttempt(stack, beside, lost)).toBe(NOT_DECISIVE)
    expect(endAttempt(stack, late, lost)).toBeGreaterThanOrEqual(0)
    const third = begin(call)
    expect([third.number, third.endpoint]).toEqual([2, endpoints[2]])
    expect(hedgeDelay(stack, third)).toBe(Number.POSITIVE_INFINITY)
    expect(endAttempt(stack, third, lost)).toBe(FINAL)
    expect(call.reports!.length).toBe(3)
    expect(balanced()).toBe(true)
  })

  it('belongs, once it is over, to the endpoint of the attempt that ended it', () => {
    for (const winner of ['late', 'beside'] as const) {
      const { stack, both } = setUp()
      const attempts = both()
      expect(attempts.call.endpoint).toBe(attempts.beside.endpoint)
      expect(endAttempt(stack, attempts[winner], SUCCESS)).toBe(FINAL)
      expect(attempts.call.endpoint).toBe(attempts[winner].endpoint)
      endAttempt(stack, attempts[winner === 'late' ? 'beside' : 'late'], LOST)
      expect(attempts.call.endpoint).toBe(attempts[winner].endpoint)
    }
  })

  it('pays from both budgets, and is not hedged when either is empty', () => {
    const { stack, begin, clock, events, budget, hedge } = setUp({ minPerSecond: 0 })
    const call = callAt(clock)
    startCall(stack, call)
    begin(call)
    expect([hedge.affordable, Math.floor(budget.balance)]).toEqual([true, 0])
    expect(startHedge(stack, new Attempt(call))).toBe(false)
    for (let i = 0; i < 5; i++) {
      const other = callAt(clock)
      startCall(stack, other)
      endAttempt(stack, begin(other), SUCCESS)
    }
    const paid = callAt(clock)
    startCall(stack, paid)
    begin(paid)
    const balance = budget.balance
    expect(startHedge(stack, new Attempt(paid))).toBe(true)
    expect(budget.balance).toBeCloseTo(balance - 1)
    expect(events).toEqual(['unpaid', 'sent'])
  })

  it('is none for calls that must not run twice, for streams, and with one endpoint only', () => {
    const { stack, begin, clock, endpoints } = setUp({ endpoints: 1 })
    for (const route of [
      { ...KIND, idempotent: false },
      { ...KIND, streaming: true },
    ]) {
      const call = callAt(clock, 1_000, route)
      startCall(stack, call)
      const attempt = begin(call)
      expect(hedgeDelay(stack, attempt)).toBe(Number.POSITIVE_INFINITY)
      endAttempt(stack, attempt, SUCCESS)
    }
    const call = callAt(clock)
    startCall(stack, call)
    const only = begin(call)
    expect(startHedge(stack, new Attempt(call))).toBe(false)
    expect(endAttempt(stack, only, SUCCESS)).toBe(FINAL)
    expect(endpoints[0]!.pending).toBe(0)
  })

  it('keeps everything in balance whatever ends first, and settles each call once', () => {
    const { stack, clock, balanced, calls, endpoints } = setUp({ seed: 5, minPerSecond: 1_000, endpoints: 4 })
    const ends: readonly Outcome[] = [
      SUCCESS,
      SUCCESS,
      FAILURE,
      outcome('failure', 'attempt-timeout'),
      outcome('refused', 'connect-failed'),
      outcome('cancelled', 'cancelled'),
    ]
    let settled = 0
    const callEnded = (): void => {
      settled += 1
    }
    let started = 0
    let hedged = 0
    const counting = { ...stack, telemetry: { ...SILENT, callEnded } }
    const running = new Map<Call, Attempt[]>()
    const start = (call: Call): void => {
      const attempt = new Attempt(call)
      const refusal = startAttempt(counting, attempt)
      if (refusal === undefined) running.set(call, [attempt])
      else {
        running.delete(call)
        endCall(counting, call, outcome('refused', refusal))
      }
    }
    const endOne = (call: Call, end: Outcome): void => {
      const attempts = running.get(call)!
      const [attempt] = attempts.splice(Math.floor(clock.random() * attempts.length), 1)
      const wait = endAttempt(counting, attempt!, end)
      if (wait >= 0) start(call)
      else if (wait === FINAL) {
        for (const other of attempts) expect(endAttempt(counting, other, LOST)).toBe(NOT_DECISIVE)
        running.delete(call)
      }
    }
    for (let i = 0; i < 4_000; i++) {
      clock.advance(clock.random() * 10)
      const some = [...running.keys()]
      const call = some[Math.floor(clock.random() * some.length)]
      const dice = clock.random()
      if (call === undefined || (dice < 0.3 && running.size < 90)) {
        const made = callAt(clock, 1e9)
        started += 1
        startCall(counting, made)
        start(made)
      } else if (dice < 0.6) {
        const beside = new Attempt(call)
        if (startHedge(counting, beside)) {
          hedged += 1
          running.get(call)!.push(beside)
        }
      } else endOne(call, ends[Math.floor(clock.random() * ends.length)]!)
    }
    for (const call of [...running.keys()]) while (running.has(call)) endOne(call, outcome('cancelled', 'cancelled'))
    expect(hedged).toBeGreaterThan(100)
    expect(settled).toBe(started)
    expect(calls.inFlight).toBe(0)
    expect(balanced()).toBe(true)
    expect(endpoints.every((each) => each.oldest === undefined && each.newest === undefined)).toBe(true)
  })
})

describe('the budget of hedges', () => {
  it('never lets more than its share through', () => {
    const clock = new FakeClock()
    const hedge = new HedgePolicy('inventory', HEDGE.resolve({ after: 1, maxExtraLoad: '5%' }), clock)
    let sent = 0
    for (let i = 1; i <= 10_000; i++) {
      hedge.deposit()
      if (i % 7 === 0 && hedge.affordable) {
        hedge.sent()
        sent += 1
      }
      expect(sent).toBeLessThanOrEqual(i * 0.05 + 1e-6)
    }
    expect(sent).toBeGreaterThan(450)
  })
})

describe('the measured percentile', () => {
  it('is known from whole windows only, and forgotten after three', () => {
    const clock = new FakeClock()
    const latencies = new LatencyWindows(clock)
    const fill = (ms: (i: number) => number): void => {
      for (let i = 0; i < 1_000; i++) {
        clock.advance(10)
        latencies.record(ms(i))
      }
    }
    fill(() => 1)
    expect(latencies.percentile(0.5)).toBe(Number.POSITIVE_INFINITY)
    fill((i) => (i % 100 < 90 ? 10 : 200))
    clock.advance(10)
    expect(latencies.percentile(0.5) / 10).toBeCloseTo(1.05, 1)
    expect(latencies.percentile(0.95) / 200).toBeCloseTo(1.05, 1)
    expect(latencies.percentile(0.999)).toBe(Number.POSITIVE_INFINITY)
    clock.advance(40_000)
    expect(latencies.percentile(0.5)).toBe(Number.POSITIVE_INFINITY)
  })

  it('decides when a hedge is due, counting attempts that were overtaken', () => {
    const clock = new FakeClock()
    const hedge = new HedgePolicy('inventory', HEDGE.resolve(), clock)
    expect(hedge.delayMs).toBe(Number.POSITIVE_INFINITY)
    clock.advance(10_000)
    for (let i = 0; i < 500; i++) {
      const attempt = new Attempt(callAt(clock))
      attempt.startedAt = clock.now()
      clock.advance(20)
      hedge.ended(attempt, i % 2 === 0 ? SUCCESS : LOST, clock.now())
      hedge.ended(attempt, outcome('refused', 'connect-failed'), clock.now() + 5_000)
    }
    clock.advance(20)
    expect(hedge.delayMs / 20).toBeCloseTo(1.05, 1)
  })
})

it('names what is wrong with hedge options', () => {
  expect(() => HEDGE.resolve({ after: 'p9' as 'p90' })).toThrow(/after: expected a duration.*'p50'.*got "p9"/)
  expect(() => HEDGE.resolve({ after: 'p30' })).toThrow(/after/)
  expect(HEDGE.resolve({ maxExtraLoad: '1%' })).toEqual({ afterMs: undefined, percentile: 0.99, maxExtraLoad: 0.01 })
  expect(HEDGE.resolve({ after: '50ms' })).toMatchObject({ afterMs: 50 })
})
