import * as api from '@opentelemetry/api'
import { NodeTracerProvider, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-node'
import { afterEach, describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { startAdmin } from '../../src/telemetry/admin.ts'
import { resolveAdmin } from '../../src/telemetry/admin-access.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { BOUNDARIES_MS } from '../../src/telemetry/histogram.ts'
import { METRIC_DEFINITIONS } from '../../src/telemetry/metric-definitions.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { prefersOpenMetrics } from '../../src/telemetry/openmetrics.ts'
import { METRICS_CONTENT_TYPE } from '../../src/telemetry/prometheus.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }
const EXEMPLAR = / # \{trace_id="([0-9a-f]{32})",span_id="([0-9a-f]{16})"\} (\S+) (\d+\.\d{3})$/
let provider: NodeTracerProvider | undefined

afterEach(async () => {
  await provider?.shutdown()
  provider = undefined
  api.trace.disable()
  api.context.disable()
  api.propagation.disable()
})

function setUp(ratio: number) {
  api.trace.disable()
  provider = new NodeTracerProvider({ sampler: new TraceIdRatioBasedSampler(ratio) })
  provider.register()
  const clock = new FakeClock()
  const metrics = new Metrics()
  const telemetry = createTelemetry({ side: 'client', service: 'checkout', metrics, clock, tracingApi: api })
  const call = (ms: number, kind = KIND): Call => {
    const made = new Call(kind, clock.now(), Number.POSITIVE_INFINITY, undefined)
    telemetry.callStarted(made)
    clock.advance(ms)
    telemetry.attemptEnded(new Attempt(made), SUCCESS, -1)
    telemetry.callEnded(made, SUCCESS)
    return made
  }
  const exemplars = () =>
    metrics
      .openMetrics()
      .split('\n')
      .filter((line) => line.includes(' # '))
  return { clock, metrics, call, exemplars }
}

describe('exemplars', () => {
  it('lead from each bucket to the last recorded call in it', () => {
    const { clock, call, exemplars } = setUp(1)
    call(7)
    const before = clock.wallNow()
    const [second, slow] = [call(8), call(20_000)]
    const [low, high, ...more] = exemplars()
    expect(more).toEqual([])
    const { traceId, spanId } = second.trace!
    expect(low).toContain('inmesh_client_request_duration_seconds_bucket{')
    expect(low).toContain('le="0.01"} 2 # ')
    expect(EXEMPLAR.exec(low!)!.slice(1, 4)).toEqual([traceId, spanId, '0.008'])
    expect(Number(EXEMPLAR.exec(low!)![4]) * 1_000).toBeGreaterThanOrEqual(before)
    expect(high).toContain('le="+Inf"} 3 # ')
    expect(EXEMPLAR.exec(high!)![1]).toBe(slow.trace!.traceId)
  })

  it('are of recorded calls only, and the text of Prometheus has none', () => {
    const none = setUp(0)
    none.call(7)
    expect(none.exemplars()).toEqual([])
    const all = setUp(1)
    all.call(7)
    all.call(7, { ...KIND, streaming: true, method: 'PUT' })
    expect(all.metrics.text()).not.toContain('trace_id')
    expect(all.exemplars()).toHaveLength(1)
  })

  it('are at most one a bucket, however many calls are recorded', () => {
    const { call, exemplars } = setUp(1)
    for (let ms = 1; ms < 30_000; ms += 97) call(ms)
    expect(exemplars().length).toBeLessThanOrEqual(BOUNDARIES_MS.length + 1)
  })
})

describe('OpenMetrics text', () => {
  it('ends with EOF, names counters without `_total`, and has the units that are in names', () => {
    const { metrics, call } = setUp(0)
    call(7)
    const text = metrics.openMetrics()
    expect(text.endsWith('# EOF\n')).toBe(true)
    expect(text).toContain('# TYPE inmesh_client_requests counter\n')
    expect(text).toContain(
      'inmesh_client_requests_total{service="checkout",peer="inventory",method="GET",code="ok"} 1\n',
    )
    expect(text).toContain('# UNIT inmesh_client_request_duration_seconds seconds\n')
    expect(text).toContain('le="1.0"')
    const families = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!)
    expect(new Set(families).size).toBe(families.length)
    for (const { name, kind } of METRIC_DEFINITIONS) if (kind === 'counter') expect(name).toMatch(/_total$/)
  })

  it('is sent to a scraper that prefers it', async () => {
    const { metrics } = setUp(0)
    const pages = {
      metrics: (openMetrics: boolean) => (openMetrics ? metrics.openMetrics() : metrics.text()),
      ...{ config: () => ({}), endpoints: () => ({}), events: () => [], health: () => ({ ok: true }) },
    }
    const admin = await startAdmin(resolveAdmin({}), pages)
    try {
      const get = async (accept: string) => {
        const answer = await fetch(`${admin.url}/metrics`, { headers: { accept } })
        return [answer.headers.get('content-type'), (await answer.text()).endsWith('# EOF\n')]
      }
      const prometheus = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1'
      expect(await get(prometheus)).toEqual(['application/openmetrics-text; version=1.0.0; charset=utf-8', true])
      expect(await get('text/plain')).toEqual([METRICS_CONTENT_TYPE, false])
    } finally {
      await admin.close()
    }
  })

  it.each([
    [undefined, false],
    ['*/*', false],
    ['application/openmetrics-text', true],
    ['text/plain;q=0.5, Application/OpenMetrics-Text; version=0.0.1; Q=0.8', true],
    ['application/openmetrics-text;q=0, text/plain', false],
    ['application/openmetrics-text;q=0.1, text/plain;q=0.9', false],
    [`${','.repeat(8_000)}application/openmetrics-text`, false],
  ])('is preferred by %j: %j', (accept, preferred) => {
    expect(prefersOpenMetrics(accept)).toBe(preferred)
  })
})
