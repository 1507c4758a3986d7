import { afterEach, describe, expect, it } from 'vitest'
import { guard } from '../../src/resilience/index.ts'
import { meterFunctions } from '../../src/telemetry/function-metrics.ts'
import { Metrics, MOST_SERIES, OVERFLOW } from '../../src/telemetry/metrics.ts'
import { parseMetrics, sampleOf } from './parse-metrics.ts'

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

function meter(service = 'checkout') {
  const metrics = new Metrics()
  const stop = meterFunctions(metrics, service)
  stops.push(stop)
  const read = (name: string, labels: Record<string, string>) =>
    sampleOf(parseMetrics(metrics.text()), name, { service, ...labels })
  return { metrics, stop, read }
}

describe('Metrics of guarded functions', () => {
  it('count calls, executions and retries by how they ended', async () => {
    const { read } = meter()
    let left = 2
    const options = { name: 'flaky', retry: { attempts: 3, backoff: { base: 1, max: 1 } } } as const
    const flaky = guard(async () => {
      if (left-- > 0) throw new Error('no')
      return 'yes'
    }, options)
    expect(await flaky()).toBe('yes')
    left = 9
    await expect(flaky()).rejects.toThrow('no')
    const of = { function: 'flaky' }
    expect(read('inmesh_function_calls_total', { ...of, code: 'ok' })).toBe(1)
    expect(read('inmesh_function_calls_total', { ...of, code: 'function-failed' })).toBe(1)
    expect(read('inmesh_function_attempts_total', { ...of, code: 'ok' })).toBe(1)
    expect(read('inmesh_function_attempts_total', { ...of, code: 'function-failed' })).toBe(5)
    expect(read('inmesh_function_retries_total', { ...of, code: 'function-failed' })).toBe(4)
    expect(read('inmesh_function_call_duration_seconds_count', of)).toBe(2)
    expect(read('inmesh_function_calls_in_flight', of)).toBe(0)
  })

  it('count what a policy refuses, and show the worst of the breakers with one name', async () => {
    const { read } = meter()
    const circuitBreaker = { minimumCalls: 1, errorThreshold: 0.01, resetAfter: '1h' } as const
    const options = { name: 'Prices.quote', circuitBreaker }
    const good = guard(async () => 1, options)
    const bad = guard(async () => {
      throw new Error('no')
    }, options)
    await good()
    for (let i = 0; i < 3; i++) await bad().catch(() => {})
    await good()
    const of = { function: 'Prices.quote' }
    expect(read('inmesh_function_calls_total', { ...of, code: 'circuit-open' })).toBeGreaterThan(0)
    expect(read('inmesh_function_circuit_state', of)).toBe(2)
  })

  it('are shown by every mesh of the process, from when it joined', async () => {
    const first = meter()
    const { promise, resolve } = Promise.withResolvers<void>()
    const slow = guard(() => promise, { name: 'slow' })
    const running = slow()
    expect(first.read('inmesh_function_calls_in_flight', { function: 'slow' })).toBe(1)
    const second = meter('billing')
    resolve()
    await running
    await slow()
    first.stop()
    await slow()
    const ok = { function: 'slow', code: 'ok' }
    expect(first.read('inmesh_function_calls_total', ok)).toBe(2)
    expect(second.read('inmesh_function_calls_total', ok)).toBe(2)
    expect(second.read('inmesh_function_calls_in_flight', { function: 'slow' })).toBe(0)
  })

  it('stay bounded, whatever names functions are given', async () => {
    const { metrics } = meter()
    for (let i = 0; i < MOST_SERIES + 10; i++) await guard(() => i, { name: `f${i}` })()
    const family = parseMetrics(metrics.text()).get('inmesh_function_calls_total')!
    expect(family.samples.size).toBeLessThanOrEqual(MOST_SERIES + 1)
    const all = { service: OVERFLOW, function: OVERFLOW, code: OVERFLOW }
    expect(sampleOf(parseMetrics(metrics.text()), 'inmesh_function_calls_total', all)).toBe(10)
  })
})
