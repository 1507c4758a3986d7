import promClient, { Counter, collectDefaultMetrics, Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import { startRegistry } from '../../src/registry/index.ts'
import { CLIENT_CALLS, METRIC_DEFINITIONS } from '../../src/telemetry/metric-definitions.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { registerWith } from '../../src/telemetry/prom-client-registry.ts'
import { parseMetrics } from './parse-metrics.ts'

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

const LABELS = ['checkout', 'inventory', 'GET', '']

function counted(service = 'checkout'): Metrics {
  const metrics = new Metrics()
  metrics.counter(CLIENT_CALLS.requests).series(service, ...LABELS.slice(1), 'ok').value += 3
  const duration = metrics.histogram(CLIENT_CALLS.durations).series(service, ...LABELS.slice(1))
  duration.record(7)
  duration.exemplify({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: true, state: undefined }, 7, 1_500)
  metrics.gauge(CLIENT_CALLS.inFlight, () => [{ labels: { service, peer: 'inventory', method: 'GET' }, value: 2 }])
  return metrics
}

/** What the text of a mesh says, without metrics that it does not have. */
function samples(text: string): string[] {
  return text.split('\n').filter((line) => /^inmesh_/.test(line))
}

describe('a registry of prom-client', () => {
  it('shows the samples of the text beside those of the application', async () => {
    const register = new Registry()
    new Counter({ name: 'orders_total', help: 'Orders.', registers: [register] }).inc()
    const metrics = counted()
    registerWith(register, metrics)
    const text = await register.metrics()
    expect(samples(text).toSorted()).toEqual(samples(metrics.text()).toSorted())
    expect(text).toContain('orders_total 1')
    // Its text has an empty line after each metric.
    expect(parseMetrics(text.replaceAll('\n\n', '\n')).get('inmesh_client_requests_total')!.kind).toBe('counter')
  })

  it('shows OpenMetrics with exemplars, time after time', async () => {
    const register = new Registry()
    register.setContentType(promClient.openMetricsContentType as never)
    registerWith(register, counted())
    for (let i = 0; i < 2; i++) {
      const text = await register.metrics()
      expect(text).toContain('# TYPE inmesh_client_requests counter')
      expect(text).toContain(
        'inmesh_client_requests_total{service="checkout",peer="inventory",method="GET",code="ok"} 3',
      )
      expect(text).toContain(`# {trace_id="${'a'.repeat(32)}",span_id="${'b'.repeat(16)}"} 0.007 1.5`)
    }
  })

  it('shows several meshes, and none when all have gone', async () => {
    const register = new Registry()
    const first = registerWith(register, counted())
    const second = registerWith(register, counted('billing'))
    expect(
      samples(await register.metrics()).filter((line) => line.startsWith('inmesh_client_requests_total')),
    ).toHaveLength(2)
    first()
    first()
    expect(
      samples(await register.metrics()).filter((line) => line.startsWith('inmesh_client_requests_total')),
    ).toHaveLength(1)
    second()
    expect(register.getMetricsAsArray()).toEqual([])
  })

  it('adds none if one of the names is taken', () => {
    const register = new Registry()
    const taken = METRIC_DEFINITIONS.at(-1)!.name
    new Counter({ name: taken, help: 'Mine.', registers: [register] })
    expect(() => registerWith(register, counted())).toThrow(taken)
    expect(register.getMetricsAsArray()).toHaveLength(1)
  })

  it('must be one', () => {
    for (const wrong of [undefined, {}, 'register', { registerMetric() {} }])
      expect(() => registerWith(wrong as never, new Metrics())).toThrow('expected a registry of prom-client')
  })

  it('shows a mesh until it is closed', async () => {
    const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
    stops.push(() => registry.close())
    const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
    const mesh = await joinMesh({ ...options, service: 'checkout' })
    stops.push(() => mesh.close())
    const register = new Registry()
    collectDefaultMetrics({ register })
    mesh.registerMetrics(register)
    expect(await register.metrics()).toContain('inmesh_registry_connected{service="checkout"} 1')
    await mesh.close()
    const text = await register.metrics()
    expect(text).not.toContain('inmesh_')
    expect(text).toContain('process_cpu_seconds_total')
    expect(() => mesh.registerMetrics(register)).toThrow('was closed')
  })
})
