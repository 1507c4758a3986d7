import promClient, { AggregatorRegistry, Counter, collectDefaultMetrics, Registry } from 'prom-client'
import oldest from 'prom-client-oldest'
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
  it.each([
    ['15', promClient],
    ['14', oldest as unknown as typeof promClient],
  ])('of version %s shows the samples of the text beside those of the application', async (_, module) => {
    const register = new module.Registry()
    new module.Counter({ name: 'orders_total', help: 'Orders.', registers: [register] }).inc()
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

  it('shows meshes of one service as one, because a sample may be there once', async () => {
    const register = new Registry()
    registerWith(register, counted())
    registerWith(register, counted())
    const text = await register.metrics()
    const [total, inFlight, count] = ['requests_total', 'requests_in_flight', 'request_duration_seconds_count'].map(
      (name) => samples(text).filter((line) => line.startsWith(`inmesh_client_${name}{`)),
    )
    expect(total).toEqual([expect.stringMatching(/ 6$/)])
    expect(inFlight).toEqual([expect.stringMatching(/ 4$/)])
    expect(count).toEqual([expect.stringMatching(/ 2$/)])
    const series = samples(text).map((line) => line.replace(/ \S+$/, ''))
    expect(new Set(series).size).toBe(series.length)
  })

  it('shows them again after it was cleared, if they are registered again', async () => {
    const register = new Registry()
    const metrics = counted()
    const stale = registerWith(register, metrics)
    register.clear()
    expect(await register.metrics()).not.toContain('inmesh_')
    const stop = registerWith(register, metrics)
    const mine = METRIC_DEFINITIONS.at(-1)!.name
    expect(samples(await register.metrics())).toEqual(expect.arrayContaining(samples(metrics.text()).slice(0, 1)))
    stale()
    expect(await register.metrics()).toContain('inmesh_client_requests_total')
    stop()
    expect(register.getMetricsAsArray()).toEqual([])
    // What another one has registered meanwhile stays.
    const third = registerWith(register, metrics)
    register.clear()
    new Counter({ name: mine, help: 'Mine.', registers: [register] })
    third()
    expect(register.getMetricsAsArray()).toHaveLength(1)
  })

  it('keeps the counts of a mesh when the registry resets its metrics', async () => {
    const register = new Registry()
    const metrics = counted()
    registerWith(register, metrics)
    register.resetMetrics()
    expect(samples(await register.metrics()).toSorted()).toEqual(samples(metrics.text()).toSorted())
  })

  it('is added up over the processes of a cluster', async () => {
    const workers = [new Registry(), new Registry()]
    for (const register of workers) registerWith(register, counted())
    const sent = JSON.parse(JSON.stringify(await Promise.all(workers.map((each) => each.getMetricsAsJSON()))))
    const text = await AggregatorRegistry.aggregate(sent).metrics()
    expect(text).toMatch(/^inmesh_client_requests_total\{.*code="ok".*\} 6$/m)
    expect(text).toMatch(/^inmesh_client_request_duration_seconds_bucket\{.*le="0.01".*\} 2$/m)
    expect(text).toMatch(/^inmesh_client_request_duration_seconds_count\{.*\} 2$/m)
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
    const mesh = await joinMesh({ ...options, service: 'checkout', joinTimeout: '30s' })
    stops.push(() => mesh.close())
    const register = new Registry()
    collectDefaultMetrics({ register })
    mesh.registerMetrics(register)
    await expect.poll(() => register.metrics()).toContain('inmesh_registry_connected{service="checkout"} 1')
    await mesh.close()
    const text = await register.metrics()
    expect(text).not.toContain('inmesh_')
    expect(text).toContain('process_cpu_seconds_total')
    expect(() => mesh.registerMetrics(register)).toThrow('was closed')
  })
})
