import * as api from '@opentelemetry/api'
import { AggregationTemporality, MeterProvider, type MetricData, MetricReader } from '@opentelemetry/sdk-metrics'
import { afterEach, describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import { startRegistry } from '../../src/registry/index.ts'
import { guard } from '../../src/resilience/index.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { NO_EVENTS } from '../../src/telemetry/events.ts'
import { meterFunctions } from '../../src/telemetry/function-metrics.ts'
import { MeterExport } from '../../src/telemetry/meter-export.ts'
import { METRIC_DEFINITIONS } from '../../src/telemetry/metric-definitions.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { OTEL_CALL_DURATIONS, otelName } from '../../src/telemetry/otel-names.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

class Reader extends MetricReader {
  protected async onShutdown(): Promise<void> {}
  protected async onForceFlush(): Promise<void> {}
  override selectAggregationTemporality() {
    return AggregationTemporality.CUMULATIVE
  }

  async read(): Promise<Map<string, MetricData>> {
    const { resourceMetrics, errors } = await this.collect()
    expect(errors).toEqual([])
    return new Map(
      resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics).map((data) => [data.descriptor.name, data]),
    )
  }
}

const stops: (() => unknown)[] = []

function provide(): Reader {
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  api.metrics.disable()
  api.metrics.setGlobalMeterProvider(provider)
  stops.push(() => provider.shutdown())
  return reader
}

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
  api.metrics.disable()
})

function kind(given: Partial<CallKind> = {}): CallKind {
  return { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true, ...given }
}

function setUp(side: 'client' | 'server' = 'client') {
  const clock = new FakeClock()
  const metrics = new Metrics()
  const meters = new MeterExport(api, clock, () => metrics.readings())
  metrics.exporter = meters
  const telemetry = createTelemetry({ side, service: 'checkout', metrics, clock })
  stops.push(() => meters.stop())
  const call = (of: CallKind, ended: Outcome, status: number, ms = 30, peer?: string): void => {
    const made = new Call(of, clock.now(), Number.POSITIVE_INFINITY, undefined)
    made.peer = peer
    telemetry.callStarted(made)
    made.status = status
    clock.advance(ms)
    telemetry.attemptEnded(new Attempt(made), ended, -1)
    telemetry.callEnded(made, ended)
  }
  return { clock, metrics, meters, call }
}

function points(data: MetricData | undefined): [Record<string, unknown>, unknown][] {
  return (data?.dataPoints ?? []).map(({ attributes, value }) => [attributes, value])
}

describe('OpenTelemetry metrics', () => {
  it('have the durations of calls by the semantic conventions, in seconds and with their boundaries', async () => {
    const reader = provide()
    const { call } = setUp()
    call(kind(), SUCCESS, 200)
    call(kind(), SUCCESS, 404)
    call(kind(), outcome('failure', 'server-error', undefined, 500), 500)
    call(kind(), outcome('failure', 'attempt-timeout'), 0)
    call(kind({ method: '/shop.Inventory/Get', protocol: 'grpc' }), SUCCESS, 0)
    call(kind({ method: '/shop.Inventory/Get', protocol: 'grpc' }), outcome('failure', 'overloaded', undefined, 14), 14)
    const data = await reader.read()
    const http = data.get('http.client.request.duration')!
    expect(http.descriptor.unit).toBe('s')
    const edge = { 'http.request.method': 'GET', 'server.address': 'inventory' }
    expect(http.dataPoints.map(({ attributes }) => attributes)).toEqual([
      { ...edge, 'http.response.status_code': 200 },
      { ...edge, 'http.response.status_code': 404 },
      { ...edge, 'http.response.status_code': 500, 'error.type': '500' },
      { ...edge, 'error.type': 'attempt-timeout' },
    ])
    expect(http.dataPoints[0]!.value).toMatchObject({ count: 1, sum: 0.03 })
    expect((http.dataPoints[0]!.value as { buckets: { boundaries: number[] } }).buckets.boundaries).toEqual([
      0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ])
    const rpc = data.get('rpc.client.call.duration')!
    expect(rpc.dataPoints.map(({ attributes }) => attributes)).toMatchObject([
      { 'rpc.system.name': 'grpc', 'rpc.method': 'shop.Inventory/Get', 'rpc.status_code': 'OK' },
      { 'rpc.status_code': 'UNAVAILABLE', 'error.type': 'UNAVAILABLE' },
    ])
  })

  it('have the durations of requests on servers, by the caller', async () => {
    const reader = provide()
    const { call } = setUp('server')
    call(kind({ service: 'checkout' }), SUCCESS, 200, 5, 'storefront')
    const [[attributes]] = points((await reader.read()).get('http.server.request.duration')) as [[object, unknown]]
    expect(attributes).toMatchObject({ 'service.peer.name': 'storefront', 'http.response.status_code': 200 })
  })

  it('have counters and gauges of the same names, labels and values as the text', async () => {
    const reader = provide()
    const { call, metrics } = setUp()
    new EventMetrics('checkout', metrics, NO_EVENTS).emit('cluster:panic', {
      peer: 'a',
      on: true,
      healthy: 1,
      endpoints: 9,
    })
    stops.push(meterFunctions(metrics, 'checkout'))
    const named = guard(async () => 1, { name: 'named' })
    call(kind(), SUCCESS, 200)
    await named()
    const data = await reader.read()
    const edge = { service: 'checkout', peer: 'inventory', method: 'GET' }
    expect(points(data.get('inmesh.client.requests'))).toEqual([[{ ...edge, code: 'ok' }, 1]])
    expect(points(data.get('inmesh.client.requests_in_flight'))).toEqual([[edge, 0]])
    expect(points(data.get('inmesh.client.panics'))).toEqual([[{ service: 'checkout', peer: 'a' }, 1]])
    const [[attributes, value]] = points(data.get('inmesh.function.call_duration')) as [[object, unknown]]
    expect(attributes).toEqual({ service: 'checkout', function: 'named' })
    expect(value).toMatchObject({ count: 1 })
  })

  it('become the names of the text again in Prometheus', () => {
    for (const { name, kind: of, unit } of METRIC_DEFINITIONS) {
      // As exporters do: dots, the unit unless it is there, `_total` of counters.
      let again = otelName(name).replaceAll('.', '_')
      const suffix = { s: '_seconds', By: '_bytes' }[unit] ?? ''
      if (!again.endsWith(suffix)) again += suffix
      expect(of === 'counter' ? `${again}_total` : again).toBe(name)
    }
  })

  it('begin with a provider that is registered later, follow the next one, and end', async () => {
    const { clock, call, meters, metrics } = setUp()
    meters.start()
    call(kind(), SUCCESS, 200)
    const first = provide()
    // By the timer, without a call.
    clock.advance(1_000)
    expect(points((await first.read()).get('inmesh.client.requests'))).toMatchObject([[{}, 1]])
    call(kind(), SUCCESS, 200)
    expect(points((await first.read()).get('http.client.request.duration'))).toMatchObject([[{}, { count: 1 }]])
    const second = provide()
    // By a call.
    call(kind(), SUCCESS, 200, 150)
    expect(points((await second.read()).get('inmesh.client.requests'))).toMatchObject([[{}, 3]])
    expect(points((await second.read()).get('http.client.request.duration'))).toMatchObject([[{}, { count: 1 }]])
    expect(points((await first.read()).get('http.client.request.duration'))).toMatchObject([[{}, { count: 1 }]])
    meters.stop()
    metrics.exporter = undefined
    call(kind(), SUCCESS, 200)
    expect(points((await second.read()).get('inmesh.client.requests'))).toMatchObject([[{}, 3]])
  })

  it('make nothing while there is no provider', () => {
    const { call, meters } = setUp()
    call(kind(), SUCCESS, 200)
    expect(meters.isOn()).toBe(false)
  })

  it('harm no call if the provider throws', () => {
    const broken = {
      getMeter: () => ({
        ...api.createNoopMeter(),
        createHistogram: () => {
          throw new Error('no')
        },
      }),
    }
    api.metrics.setGlobalMeterProvider(broken as never)
    const { call } = setUp()
    expect(() => call(kind(), SUCCESS, 200)).not.toThrow()
  })

  it('are those of a mesh that had joined before', async () => {
    const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
    stops.push(() => registry.close())
    const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
    const server = await joinMesh({ ...options, service: 'inventory' })
    stops.push(() => server.close())
    await server.serve((_request, response) => response.end('3'))
    const client = await joinMesh({ ...options, service: 'checkout' })
    stops.push(() => client.close())
    const reader = provide()
    await (await client.http('inventory').get('/items/1')).text()
    await expect
      .poll(async () => points((await reader.read()).get('http.server.request.duration')))
      .toMatchObject([[{ 'service.peer.name': 'checkout', 'http.response.status_code': 200 }, { count: 1 }]])
    const data = await reader.read()
    expect(points(data.get('http.client.request.duration'))).toMatchObject([
      [{ 'server.address': 'inventory', 'http.response.status_code': 200 }, { count: 1 }],
    ])
    const known = new Set([
      ...METRIC_DEFINITIONS.map(({ name }) => otelName(name)),
      ...Object.values(OTEL_CALL_DURATIONS).flatMap(Object.values),
    ])
    for (const name of data.keys()) expect(known).toContain(name)
    expect(points(data.get('inmesh.registry.connected'))).toHaveLength(2)
  })
})
