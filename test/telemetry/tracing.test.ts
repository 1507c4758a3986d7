import { type ChannelListener, channel } from 'node:diagnostics_channel'
import * as api from '@opentelemetry/api'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node'
import { afterEach, describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { parseTraceparent, type TraceContext } from '../../src/core/trace-context.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { loadTracingApi } from '../../src/telemetry/tracing.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }
const SAMPLED = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const UNSAMPLED = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'

const endpoint = new Endpoint('inventory', {
  id: 'a',
  address: '10.0.0.7',
  port: 8443,
  protocol: 'http',
  tls: true,
  zone: undefined,
  version: undefined,
  weight: 1,
  metadata: {},
})

function setUp() {
  const clock = new FakeClock()
  const metrics = new Metrics()
  const client = createTelemetry({ side: 'client', service: 'checkout', metrics, clock, tracingApi: api })
  const server = createTelemetry({ side: 'server', service: 'checkout', metrics, clock, tracingApi: api })
  const startClient = (parent?: Call, route = KIND): Call => {
    const call = new Call(route, clock.now(), Number.POSITIVE_INFINITY, parent)
    client.callStarted(call)
    return call
  }
  const startServer = (traceparent?: string): Call => {
    const call = new Call({ ...KIND, service: 'checkout' }, clock.now(), Number.POSITIVE_INFINITY, undefined)
    call.trace = parseTraceparent(traceparent, 'vendor=1')
    call.peer = 'storefront'
    server.callStarted(call)
    return call
  }
  const attempt = (call: Call, ended: Outcome, status: number, waitMs = -1): TraceContext | undefined => {
    const made = new Attempt(call)
    made.number = call.attempts++
    made.endpoint = endpoint
    client.attemptStarted(made)
    const sent = made.trace ?? call.trace
    made.status = status
    client.attemptEnded(made, ended, waitMs)
    if (waitMs < 0) client.callEnded(call, ended)
    return sent
  }
  const endServer = (call: Call, ended: Outcome, status: number): void => {
    const made = new Attempt(call)
    server.attemptStarted(made)
    made.status = status
    server.attemptEnded(made, ended, -1)
    server.callEnded(call, ended)
  }
  return { clock, client, server, startClient, startServer, attempt, endServer }
}

let provider: NodeTracerProvider | undefined

function register(sampler?: Sampler): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  provider = new NodeTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
    ...(sampler === undefined ? {} : { sampler }),
  })
  provider.register()
  return exporter
}

afterEach(async () => {
  await provider?.shutdown()
  provider = undefined
  api.trace.disable()
  api.context.disable()
  api.propagation.disable()
})

function tree(spans: readonly ReadableSpan[]): Record<string, string | undefined> {
  const label = (span: ReadableSpan) => `${api.SpanKind[span.kind]} ${span.attributes['server.address'] ?? span.name}`
  const byId = new Map(spans.map((span) => [span.spanContext().spanId, label(span)]))
  return Object.fromEntries(spans.map((span) => [label(span), byId.get(span.parentSpanContext?.spanId ?? '')]))
}

describe('with an SDK', () => {
  it('records a mirror as a marked child of the call that it copies, whose trace it sends on', () => {
    const exporter = register()
    const { client, startClient, attempt } = setUp()
    const call = startClient()
    const mirror = new Attempt(new Call({ ...KIND, service: 'copy' }, 0, Number.POSITIVE_INFINITY, undefined))
    mirror.endpoint = endpoint
    const mirrored = { peer: 'copy', route: 'all' }
    client.mirrors!.mirrorStarted(mirrored, mirror, call)
    attempt(call, SUCCESS, 200)
    client.mirrors!.mirrorEnded(mirrored, mirror, outcome('failure', 'server-error', undefined, 500))
    const spans = exporter.getFinishedSpans()
    const own = spans.find(({ attributes }) => attributes['inmesh.mirror'] === true)!
    expect(mirror.trace).toMatchObject({
      traceId: call.trace!.traceId,
      spanId: own.spanContext().spanId,
      sampled: true,
    })
    expect(own.parentSpanContext?.spanId).toBe(call.trace!.spanId)
    expect(own.attributes).toMatchObject({ 'service.peer.name': 'copy', 'error.type': '500' })
    expect(spans).toHaveLength(3)
  })

  it('records one span for the served request, one for the call it makes and one for each attempt', () => {
    const exporter = register()
    const { server, startServer, startClient, attempt, endServer } = setUp()
    const inbound = startServer(SAMPLED)
    const sent: (TraceContext | undefined)[] = []
    server.within(inbound, () => {
      const call = startClient(inbound)
      sent.push(attempt(call, outcome('failure', 'overloaded', undefined, 503), 503, 5))
      sent.push(attempt(call, SUCCESS, 200))
    })
    endServer(inbound, SUCCESS, 200)

    const spans = exporter.getFinishedSpans()
    expect(spans.map((span) => api.SpanKind[span.kind])).toEqual(['CLIENT', 'CLIENT', 'CLIENT', 'SERVER'])
    const [first, second, call, served] = spans as [ReadableSpan, ReadableSpan, ReadableSpan, ReadableSpan]
    expect(served.parentSpanContext).toMatchObject({ spanId: 'b7ad6b7169203331', isRemote: true })
    expect(call.parentSpanContext?.spanId).toBe(served.spanContext().spanId)
    for (const each of [first, second]) expect(each.parentSpanContext?.spanId).toBe(call.spanContext().spanId)
    expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([TRACE_ID]))
    expect(sent.map((trace) => trace?.spanId)).toEqual([first.spanContext().spanId, second.spanContext().spanId])
    expect(sent[0]).toMatchObject({ traceId: TRACE_ID, sampled: true, state: 'vendor=1' })

    expect(first.attributes).toEqual({
      'http.request.method': 'GET',
      'service.peer.name': 'inventory',
      'server.address': '10.0.0.7',
      'server.port': 8443,
      'http.response.status_code': 503,
      'error.type': '503',
    })
    expect(first.status.code).toBe(api.SpanStatusCode.ERROR)
    expect(second.attributes).toMatchObject({ 'http.request.resend_count': 1, 'http.response.status_code': 200 })
    expect(call.attributes).toMatchObject({ 'http.request.resend_count': 1, 'http.response.status_code': 200 })
    expect(call.status.code).toBe(api.SpanStatusCode.UNSET)
    expect(served.attributes).toEqual({
      'http.request.method': 'GET',
      'service.peer.name': 'storefront',
      'http.response.status_code': 200,
    })
  })

  it('names the transport on the spans of attempts and of served requests, not on those of calls', () => {
    const exporter = register()
    const { client, server, startServer, startClient } = setUp()
    for (const [transport, name, version] of [
      ['inmesh/1', 'inmesh', '1'],
      ['http/1.1', 'http', '1.1'],
      ['h2', 'http', '2'],
      [undefined, undefined, undefined],
    ] as const) {
      exporter.reset()
      for (const [side, call] of [
        [client, startClient()],
        [server, startServer(SAMPLED)],
      ] as const) {
        const attempt = new Attempt(call)
        side.attemptStarted(attempt)
        attempt.transport = transport
        side.attemptEnded(attempt, SUCCESS, -1)
        side.callEnded(call, SUCCESS)
      }
      const [attempt, call, served] = exporter.getFinishedSpans().map(({ attributes }) => attributes)
      for (const attributes of [attempt, served]) {
        expect(attributes!['network.protocol.name']).toBe(name)
        expect(attributes!['network.protocol.version']).toBe(version)
      }
      expect(call).not.toHaveProperty('network.protocol.name')
    }
  })

  it('names the route of a call, also one that is chosen after its start', () => {
    const exporter = register()
    const { client, startClient, attempt } = setUp()
    const call = startClient()
    call.routed = { name: 'item-pages' }
    client.callRouted!(call)
    attempt(call, SUCCESS, 200)
    const unrouted = startClient()
    attempt(unrouted, SUCCESS, 200)
    const names = exporter.getFinishedSpans().map(({ attributes }) => attributes['inmesh.route'])
    expect(names).toEqual(['item-pages', 'item-pages', undefined, undefined])
  })

  it('puts the call below the span that is active in the application', () => {
    const exporter = register()
    const { startClient, attempt } = setUp()
    api.trace.getTracer('app').startActiveSpan('checkout', (span) => {
      attempt(startClient(), SUCCESS, 200)
      span.end()
    })
    expect(tree(exporter.getFinishedSpans())).toEqual({
      'CLIENT 10.0.0.7': 'CLIENT GET',
      'CLIENT GET': 'INTERNAL checkout',
      'INTERNAL checkout': undefined,
    })
  })

  it('shows the handler its own span as the active one', () => {
    register()
    const { server, startServer } = setUp()
    const inbound = startServer(SAMPLED)
    server.within(inbound, () => {
      expect(api.trace.getActiveSpan()?.spanContext().spanId).toBe(inbound.trace?.spanId)
    })
    expect(api.trace.getActiveSpan()).toBeUndefined()
  })

  it('joins the span that an instrumentation of node:http has made for the same request', () => {
    const exporter = register()
    const { startServer, endServer } = setUp()
    const remote = { traceId: TRACE_ID, spanId: 'b7ad6b7169203331', traceFlags: 1, isRemote: true }
    const context = api.trace.setSpanContext(api.ROOT_CONTEXT, remote)
    const instrumented = api.trace.getTracer('http').startSpan('GET /', {}, context)
    api.context.with(api.trace.setSpan(context, instrumented), () => endServer(startServer(SAMPLED), SUCCESS, 200))
    expect(exporter.getFinishedSpans()[0]!.parentSpanContext?.spanId).toBe(instrumented.spanContext().spanId)
    instrumented.end()
  })

  it('adopts that span if it is a server’s and the child of the caller’s, so that there is one', () => {
    const exporter = register()
    const { server, startServer, endServer } = setUp()
    const remote = { traceId: TRACE_ID, spanId: 'b7ad6b7169203331', traceFlags: 1, isRemote: true }
    const context = api.trace.setSpanContext(api.ROOT_CONTEXT, remote)
    const instrumented = api.trace.getTracer('http').startSpan('GET /', { kind: api.SpanKind.SERVER }, context)
    api.context.with(api.trace.setSpan(context, instrumented), () => {
      const inbound = startServer(SAMPLED)
      expect(inbound.trace!.spanId).toBe(instrumented.spanContext().spanId)
      server.within(inbound, () => expect(api.trace.getActiveSpan()).toBe(instrumented))
      endServer(inbound, outcome('failure', 'deadline-exceeded'), 0)
      // Of another request, in whose context this one happens to begin.
      endServer(startServer(SAMPLED.replace('b7ad', 'c7ad')), SUCCESS, 200)
    })
    expect(exporter.getFinishedSpans()).toHaveLength(1)
    expect(instrumented.isRecording()).toBe(true)
    instrumented.end()
    expect(exporter.getFinishedSpans()[1]!.attributes).toMatchObject({
      ...{ 'service.peer.name': 'storefront', 'error.type': 'deadline-exceeded' },
    })
  })

  it('adopts the span that an instrumentation of gRPC clients has made for a call, and for no other', () => {
    const exporter = register()
    const { client, startClient } = setUp()
    const path = '/shop.Inventory/Watch'
    const kind: CallKind = { ...KIND, method: path, protocol: 'grpc', streaming: true }
    const instrumented = api.trace.getTracer('grpc').startSpan('grpc.shop.Inventory/Watch', { kind: 2 })
    api.context.with(api.trace.setSpan(api.context.active(), instrumented), () => {
      const call = startClient(undefined, kind)
      expect(call.trace!.spanId).toBe(instrumented.spanContext().spanId)
      // In its listeners, where that span is still active.
      const within = startClient(undefined, kind)
      const other = startClient(undefined, { ...kind, method: '/shop.Inventory/Get' })
      for (const one of [within, other, call]) client.callEnded(one, SUCCESS)
    })
    expect(instrumented.isRecording()).toBe(true)
    const spans = exporter.getFinishedSpans()
    expect(spans.map(({ name }) => name)).toEqual(['shop.Inventory/Watch', 'shop.Inventory/Get'])
    for (const span of spans) expect(span.parentSpanContext?.spanId).toBe(instrumented.spanContext().spanId)
    instrumented.end()
    expect(exporter.getFinishedSpans()[2]!.attributes).toEqual({ 'service.peer.name': 'inventory' })
  })

  it('names gRPC methods, statuses and errors by the semantic conventions', () => {
    const exporter = register()
    const { startClient, attempt } = setUp()
    const kind: CallKind = { ...KIND, method: '/shop.Inventory/Get', protocol: 'grpc' }
    attempt(startClient(undefined, kind), outcome('failure', 'overloaded', undefined, 14), 14)
    attempt(startClient(undefined, { ...kind, method: '_OTHER' }), SUCCESS, 0)
    const spans = exporter.getFinishedSpans()
    expect(spans.map(({ name }) => name)).toEqual([
      ...['shop.Inventory/Get', 'shop.Inventory/Get'],
      ...['grpc', 'grpc'],
    ])
    for (const { attributes } of spans.slice(0, 2)) {
      expect(attributes).toMatchObject({
        ...{ 'rpc.system.name': 'grpc', 'rpc.method': 'shop.Inventory/Get' },
        ...{ 'rpc.status_code': 'UNAVAILABLE', 'error.type': 'UNAVAILABLE' },
      })
    }
    expect(spans[2]!.attributes).toMatchObject({ 'rpc.method': '_OTHER' })
  })

  it('has an event for each retry, and a link from a hedge to the attempt that was late', () => {
    const exporter = register()
    const { client, startClient, attempt } = setUp()
    const call = startClient()
    attempt(call, outcome('failure', 'server-error', undefined, 503), 503, 25)
    const [late, hedge] = [new Attempt(call), new Attempt(call)]
    hedge.hedge = true
    for (const one of [late, hedge]) {
      one.number = call.attempts++
      client.attemptStarted(one)
    }
    const lateId = late.trace!.spanId
    for (const one of [hedge, late]) client.attemptEnded(one, SUCCESS, -1)
    client.callEnded(call, SUCCESS)
    const spans = exporter.getFinishedSpans()
    const own = spans.find((span) => span.spanContext().spanId === call.trace!.spanId)!
    expect(own.events.map(({ name, attributes }) => [name, attributes])).toEqual([
      ['inmesh.retry', { 'http.request.resend_count': 1, 'inmesh.retry.delay': 0.025, 'error.type': '503' }],
    ])
    const linked = spans.filter(({ links }) => links.length > 0)
    expect(linked).toHaveLength(1)
    expect(linked[0]!.attributes['inmesh.hedge']).toBe(true)
    expect(linked[0]!.links[0]!.context.spanId).toBe(lateId)
  })

  it('makes no span at all below a caller that does not sample, and passes its context on as it came', () => {
    let asked = 0
    const exporter = register({
      shouldSample: () => {
        asked += 1
        return { decision: SamplingDecision.RECORD_AND_SAMPLED }
      },
    })
    const { server, startServer, startClient, attempt, endServer } = setUp()
    const inbound = startServer(UNSAMPLED)
    const sent = server.within(inbound, () => attempt(startClient(inbound), SUCCESS, 200))
    endServer(inbound, SUCCESS, 200)
    expect(sent).toEqual({
      traceId: TRACE_ID,
      spanId: 'b7ad6b7169203331',
      sampled: false,
      state: 'vendor=1',
      text: UNSAMPLED,
    })
    expect(asked).toBe(0)
    expect(exporter.getFinishedSpans()).toEqual([])
  })

  it("sends the trace on when our own sampler says no, so that the peer's follows it", () => {
    const exporter = register({ shouldSample: () => ({ decision: SamplingDecision.NOT_RECORD }) })
    const { startClient, attempt } = setUp()
    const sent = attempt(startClient(), SUCCESS, 200)
    expect(sent?.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(sent?.sampled).toBe(false)
    expect(exporter.getFinishedSpans()).toEqual([])
  })

  it('marks failures with their code, and cancellations without an error', () => {
    const exporter = register()
    const { startClient, client, attempt } = setUp()
    client.callEnded(startClient(), outcome('refused', 'circuit-open'))
    attempt(startClient(), outcome('cancelled', 'cancelled'), 0)
    const [open, , cancelled] = exporter.getFinishedSpans()
    expect(open!.attributes['error.type']).toBe('circuit-open')
    expect(open!.status.code).toBe(api.SpanStatusCode.ERROR)
    expect(cancelled!.attributes['error.type']).toBe('cancelled')
    expect(cancelled!.status.code).toBe(api.SpanStatusCode.UNSET)
  })

  it('shows the status of a request that was refused before it had an attempt', () => {
    const exporter = register()
    const { server, startServer } = setUp()
    server.callEnded(startServer(), outcome('refused', 'concurrency-limited', undefined, 503))
    const [span] = exporter.getFinishedSpans()
    expect(span?.attributes).toMatchObject({ 'http.response.status_code': 503, 'error.type': '503' })
  })

  it('makes an internal span and no attempt spans for a plain function', () => {
    const exporter = register()
    const { startClient, attempt } = setUp()
    attempt(startClient(undefined, { ...KIND, protocol: 'function', method: 'Prices.quote' }), SUCCESS, 0)
    expect(tree(exporter.getFinishedSpans())).toEqual({ 'INTERNAL Prices.quote': undefined })
  })

  it('does not fail a call when a sampler throws', () => {
    register({
      shouldSample: () => {
        throw new Error('sampler')
      },
    })
    const { startClient, attempt } = setUp()
    expect(attempt(startClient(), SUCCESS, 200)).toBeUndefined()
  })

  it('hides a dispatch from an instrumentation of undici, and only if there is one', () => {
    const exporter = register()
    const { client, startClient } = setUp()
    client.callEnded(startClient(), SUCCESS)
    const spanInside = () =>
      client.suppressed(() => {
        const span = api.trace.getTracer('instrumentation').startSpan('GET')
        span.end()
        return (
          span.isRecording() ||
          exporter.getFinishedSpans().some((s) => s.spanContext().spanId === span.spanContext().spanId)
        )
      })
    expect(spanInside()).toBe(true)
    const listener: ChannelListener = () => {}
    const requests = channel('undici:request:create')
    requests.subscribe(listener)
    try {
      expect(spanInside()).toBe(false)
    } finally {
      requests.unsubscribe(listener)
    }
  })

  it('respects that the application suppresses tracing', () => {
    const exporter = register()
    const { startClient, attempt } = setUp()
    const key = api.createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')
    api.context.with(api.context.active().setValue(key, true), () => {
      expect(attempt(startClient(), SUCCESS, 200)).toBeUndefined()
    })
    expect(exporter.getFinishedSpans()).toEqual([])
  })
})

describe('without an SDK', () => {
  it('makes no trace of its own and passes the inbound one on as it came', () => {
    const { server, startServer, startClient, attempt } = setUp()
    expect(attempt(startClient(), SUCCESS, 200)).toBeUndefined()
    const inbound = startServer(SAMPLED)
    const sent = server.within(inbound, () => attempt(startClient(inbound), SUCCESS, 200))
    expect(sent).toBe(inbound.trace)
    expect(sent?.spanId).toBe('b7ad6b7169203331')
  })

  it('notices an SDK that is registered later', () => {
    const { clock, startClient, attempt } = setUp()
    attempt(startClient(), SUCCESS, 200)
    const exporter = register()
    clock.advance(100)
    attempt(startClient(), SUCCESS, 200)
    expect(exporter.getFinishedSpans()).toHaveLength(2)
  })

  it('finds the API of the application', async () => {
    expect((await loadTracingApi())?.trace).toBe(api.trace)
  })
})
