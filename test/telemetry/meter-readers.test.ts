/** Readers of both temporalities, several meshes under one provider, and views that drop. */
import * as api from '@opentelemetry/api'
import {
  AggregationTemporality,
  AggregationType,
  MeterProvider,
  type MetricData,
  MetricReader,
  type ViewOptions,
} from '@opentelemetry/sdk-metrics'
import { afterEach, expect, it } from 'vitest'
import { Call, type CallKind } from '../../src/core/call.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { MeterExport } from '../../src/telemetry/meter-export.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const { CUMULATIVE, DELTA } = AggregationTemporality
const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }

class Reader extends MetricReader {
  readonly #temporality: AggregationTemporality

  constructor(temporality: AggregationTemporality) {
    super()
    this.#temporality = temporality
  }
  protected async onShutdown(): Promise<void> {}
  protected async onForceFlush(): Promise<void> {}
  override selectAggregationTemporality(): AggregationTemporality {
    return this.#temporality
  }

  async read(): Promise<Map<string, MetricData>> {
    const { resourceMetrics, errors } = await this.collect()
    expect(errors).toEqual([])
    const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
    return new Map(all.map((data) => [data.descriptor.name, data]))
  }
}

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
  api.metrics.disable()
})

function provide(readers: MetricReader[], views: ViewOptions[] = []): MeterProvider {
  const provider = new MeterProvider({ readers, views })
  api.metrics.setGlobalMeterProvider(provider)
  stops.push(() => provider.shutdown().catch(() => {}))
  return provider
}

function caller(service: string) {
  const clock = new FakeClock()
  const metrics = new Metrics(service)
  const meters = new MeterExport(api, clock, () => metrics.readings())
  metrics.exporter = meters
  stops.push(() => meters.stop())
  const telemetry = createTelemetry({ side: 'client', service, metrics, clock })
  const call = (): void => {
    const made = new Call(KIND, clock.now(), Number.POSITIVE_INFINITY, undefined)
    telemetry.callStarted(made)
    made.status = 200
    clock.advance(30)
    telemetry.callEnded(made, SUCCESS)
  }
  return { call, metrics }
}

function values(data: MetricData | undefined): unknown[] {
  return (data?.dataPoints ?? []).map(({ value }) => (typeof value === 'number' ? value : value.count))
}

it('give a reader of deltas what came since it last read, and one of totals all', async () => {
  const [totals, deltas] = [new Reader(CUMULATIVE), new Reader(DELTA)]
  provide([totals, deltas])
  const { call } = caller('checkout')
  const names = ['inmesh.client.requests', 'http.client.request.duration']
  for (const [round, calls] of [2, 3].entries()) {
    for (let i = 0; i < calls; i++) call()
    const [all, since] = [await totals.read(), await deltas.read()]
    for (const name of names) {
      expect(values(all.get(name)), name).toEqual([round === 0 ? 2 : 5])
      expect(values(since.get(name)), name).toEqual([calls])
    }
    expect(values(since.get('inmesh.client.requests_in_flight'))).toEqual([0])
  }
})

it('tell several meshes of one process apart', async () => {
  const reader = new Reader(CUMULATIVE)
  provide([reader])
  const all = [caller('checkout'), caller('billing')]
  for (const { call, metrics } of all) {
    call()
    metrics.gauge({ name: 'inmesh_client_panic', kind: 'gauge', unit: '{flag}', labels: [], help: '' }, () => {
      throw new Error('no')
    })
  }
  const data = await reader.read()
  for (const name of ['inmesh.client.requests', 'inmesh.metrics.unreadable']) {
    const services = data.get(name)!.dataPoints.map(({ attributes }) => attributes.service)
    expect(services.toSorted()).toEqual(['billing', 'checkout'])
  }
  expect(values(data.get('inmesh.client.requests'))).toEqual([1, 1])
  // The histograms of the conventions are of the process.
  expect(values(data.get('http.client.request.duration'))).toEqual([2])
})

it('are dropped by views, by the scope `inmesh` too', async () => {
  const reader = new Reader(CUMULATIVE)
  const drop = { aggregation: { type: AggregationType.DROP } } as const
  provide(
    [reader],
    [
      { instrumentName: 'inmesh.client.*', ...drop },
      { meterName: 'inmesh', instrumentName: 'http.client.request.duration', ...drop },
    ],
  )
  const { call } = caller('checkout')
  call()
  const other = api.metrics.getMeter('another').createHistogram('http.client.request.duration')
  other.record(1)
  const data = await reader.read()
  expect([...data.keys()].filter((name) => name.startsWith('inmesh.client.'))).toEqual([])
  expect(values(data.get('http.client.request.duration'))).toEqual([1])
  expect(data.has('inmesh.metrics.unreadable')).toBe(true)
})

it('harm no call after the provider was shut down', async () => {
  const reader = new Reader(CUMULATIVE)
  const provider = provide([reader])
  const { call, metrics } = caller('checkout')
  call()
  await provider.shutdown()
  call()
  expect(metrics.text()).toMatch(/^inmesh_client_requests_total\{.*\} 2$/m)
})
