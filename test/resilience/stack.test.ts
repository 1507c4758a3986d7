import { describe, expect, it } from 'vitest'
import { PeakEwma } from '../../src/client/balancing/peak-ewma.ts'
import { Attempt } from '../../src/core/attempt.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import type { Cluster } from '../../src/core/picker.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { endAttempt, startAttempt, startCall } from '../../src/resilience/execution.ts'
import { LIMITS } from '../../src/resilience/limits/settings.ts'
import { FINAL } from '../../src/resilience/retry.ts'
import { ServiceState } from '../../src/resilience/service-state.ts'
import { SERVICE } from '../../src/resilience/settings.ts'
import { compileServerStack, compileStack, ServerLimits } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE } from './conformance.ts'

function setUp() {
  const clock = new FakeClock()
  const state = new ServiceState('inventory', clock)
  const balancer = new PeakEwma(clock, state.ejection)
  const endpoints = [endpoint('a'), endpoint('b')]
  const cluster: Cluster = {
    service: 'inventory',
    endpoints,
    picker: balancer.picker(endpoints),
    whenAvailable: () => () => {},
    onChange: () => () => {},
  }
  const compile = (options: Parameters<typeof SERVICE.resolve>[0]) => {
    const settings = SERVICE.resolve(options)
    state.configure(settings)
    return compileStack({ settings, state, cluster, balancer, telemetry: SILENT, clock })
  }
  return { clock, state, compile, endpoints }
}

describe('the stack of a client', () => {
  it('has its policies in their order', () => {
    const { compile } = setUp()
    const stack = compile({})
    expect(stack.service.map((policy) => policy.name)).toEqual(['circuit-breaker'])
    expect(stack.endpoint.map((policy) => policy.name)).toEqual(['client-throttle', 'ejection', 'peak-ewma'])
    expect(stack.timeoutMs).toBe(10_000)
  })

  it('keeps breaker, budget and ejections when the configuration changes', () => {
    const { clock, state, compile, endpoints } = setUp()
    const before = compile({ circuitBreaker: { minimumCalls: 2 }, retry: { attempts: 1 } })
    for (let i = 0; i < 2; i++) {
      const call = callAt(clock)
      startCall(before, call)
      const attempt = new Attempt(call)
      expect(startAttempt(before, attempt)).toBeUndefined()
      expect(endAttempt(before, attempt, FAILURE)).toBe(FINAL)
    }
    expect(state.circuit!.state).toBe('open')
    const after = compile({ timeout: '1s' })
    expect(after.service[0]).toBe(before.service[0])
    expect(after.budget).toBe(before.budget)
    expect(startAttempt(after, new Attempt(callAt(clock)))).toBe('circuit-open')
    const without = compile({ circuitBreaker: false, ejection: false, throttle: false })
    expect(without.service).toEqual([])
    expect(without.endpoint.map((policy) => policy.name)).toEqual(['peak-ewma'])
    expect(endpoints.every((each) => each.state === 'healthy')).toBe(true)
  })
})

describe('compiling', () => {
  it('configures nothing: what is in force stays so until the stack is taken over', () => {
    const { clock, state, endpoints } = setUp()
    const settings = SERVICE.resolve({ circuitBreaker: { minimumCalls: 2 } })
    state.configure(settings)
    const { circuit, throttle } = state
    state.ejection.watch(endpoints)
    state.ejection.hold(endpoints[0]!)
    const other = SERVICE.resolve({ circuitBreaker: false, throttle: false, ejection: false, hedge: {} })
    const parts = { state, cluster: undefined as never, balancer: undefined, telemetry: SILENT, clock }
    compileStack({ ...parts, settings: other })
    expect([state.circuit, state.throttle, state.hedge]).toEqual([circuit, throttle, undefined])
    expect(endpoints[0]!.state).toBe('ejected')
    const limits = new ServerLimits(clock)
    limits.configure(LIMITS.resolve({ concurrency: 7 }))
    const { concurrency } = limits
    const stack = compileServerStack({ state: limits, telemetry: SILENT, clock })
    expect(stack.service).toEqual([concurrency])
    expect(limits.concurrency!.limit).toBe(7)
  })
})

describe('the stack of a server', () => {
  it('refuses beyond its limits and never repeats', () => {
    const clock = new FakeClock()
    const state = new ServerLimits(clock)
    state.configure(LIMITS.resolve({ concurrency: 1, rate: 1 }))
    const stack = compileServerStack({ state, telemetry: SILENT, clock })
    const first = new Attempt(callAt(clock))
    startCall(stack, first.call)
    expect(startAttempt(stack, first)).toBeUndefined()
    expect(startAttempt(stack, new Attempt(callAt(clock)))).toBe('concurrency-limited')
    expect(endAttempt(stack, first, FAILURE)).toBe(FINAL)
    expect(startAttempt(stack, new Attempt(callAt(clock)))).toBe('rate-limited')
    expect(state.concurrency!.inFlight).toBe(0)
    expect(state.rate!.retryAfterMs).toBeGreaterThan(0)
  })

  it('still counts what runs when its limits change', () => {
    const clock = new FakeClock()
    const state = new ServerLimits(clock)
    const compile = (concurrency: number | undefined) => {
      state.configure(LIMITS.resolve(concurrency === undefined ? {} : { concurrency }))
      return compileServerStack({ state, telemetry: SILENT, clock })
    }
    const first = new Attempt(callAt(clock))
    const before = compile(5)
    startAttempt(before, first)
    const after = compile(1)
    expect(startAttempt(after, new Attempt(callAt(clock)))).toBe('concurrency-limited')
    endAttempt(before, first, SUCCESS)
    expect(startAttempt(after, new Attempt(callAt(clock)))).toBeUndefined()
  })
})

describe('service options', () => {
  it('resolve to the defaults, and every mistake is named', () => {
    expect(SERVICE.resolve()).toMatchObject({
      timeoutMs: 10_000,
      retry: { attempts: 3 },
      circuitBreaker: { errorThreshold: 0.5, windowMs: 10_000, minimumCalls: 20, resetAfterMs: 5_000 },
      balancer: 'least-load',
      limits: { concurrency: undefined, ratePerSecond: undefined },
    })
    expect(SERVICE.resolve({ circuitBreaker: false, limits: { rate: '500/s' } })).toMatchObject({
      circuitBreaker: undefined,
      limits: { ratePerSecond: 500 },
    })
    expect(() => SERVICE.resolve({ balancer: 'peak-ewm', retry: { attemps: 1 } } as never)).toThrow(
      /attemps.*did you mean 'attempts'.*balancer.*did you mean 'peak-ewma'/s,
    )
  })
})
