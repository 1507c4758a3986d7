/** The lines of calls whose spans are recorded, with a real SDK and a real logger. */
import * as api from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Attempt } from '../../../src/core/attempt.ts'
import { Call, type CallKind } from '../../../src/core/call.ts'
import { SUCCESS } from '../../../src/core/outcome.ts'
import { FINAL } from '../../../src/resilience/retry.ts'
import { AccessLog } from '../../../src/telemetry/access-log/access-log.ts'
import { ACCESS_LOG_OPTION } from '../../../src/telemetry/access-log/settings.ts'
import { createTelemetry } from '../../../src/telemetry/call-telemetry.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { LogLines } from './log-lines.ts'

const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }
const spans = new InMemorySpanExporter()
let provider: NodeTracerProvider

beforeEach(() => {
  spans.reset()
  provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  provider.register()
})
afterEach(async () => {
  await provider.shutdown()
  api.trace.disable()
  api.context.disable()
  api.propagation.disable()
})

it('have the ids of the span, and run the logger with it as the active one', async () => {
  // As the instrumentation of pino does.
  const lines = new LogLines({
    mixin: () => ({ active: api.trace.getActiveSpan()?.spanContext().spanId ?? 'none' }),
  })
  const [clock, metrics] = [new FakeClock(), new Metrics()]
  const log = new AccessLog(ACCESS_LOG_OPTION.resolve({ log: lines.logger, sample: 1 }), 'checkout', metrics, clock)
  const telemetry = createTelemetry({
    ...{ side: 'client', service: 'checkout', metrics, clock, tracingApi: api },
    accessLog: log.client,
  })
  for (let i = 0; i < 2; i++) {
    const call = new Call(KIND, clock.now(), Number.POSITIVE_INFINITY, undefined)
    telemetry.callStarted(call)
    const attempt = new Attempt(call)
    telemetry.attemptStarted(attempt)
    telemetry.attemptEnded(attempt, SUCCESS, FINAL)
    telemetry.callEnded(call, SUCCESS)
  }
  await log.close()
  const calls = spans.getFinishedSpans().filter((span) => span.parentSpanContext === undefined)
  expect(calls).toHaveLength(2)
  expect(
    lines.all.map(({ trace_id, span_id, trace_flags, active }) => [trace_id, span_id, trace_flags, active]),
  ).toEqual(
    calls.map((span) => [span.spanContext().traceId, span.spanContext().spanId, '01', span.spanContext().spanId]),
  )
})
