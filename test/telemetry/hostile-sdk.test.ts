/** An SDK of the application that throws, in whatever method, harms no call. */
import * as api from '@opentelemetry/api'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { afterEach, describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { outcome, SUCCESS } from '../../src/core/outcome.ts'
import { parseTraceparent } from '../../src/core/trace-context.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { MeterExport } from '../../src/telemetry/meter-export.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const KIND: CallKind = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

afterEach(() => {
  api.trace.disable()
  api.context.disable()
  api.metrics.disable()
})

/** `good` but for one method, which throws each time. */
function but<T extends object>(good: T, method: keyof T): T {
  const fail = (): never => {
    throw new Error(`${String(method)} fails`)
  }
  return new Proxy(good, {
    get: (target, name) => {
      const value = Reflect.get(target, name)
      return name === method ? fail : typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** A served request that makes a call, with a retry, a hedge and a mirror. */
function callAll() {
  const clock = new FakeClock()
  const metrics = new Metrics()
  const meters = new MeterExport(api, clock, () => metrics.readings())
  metrics.exporter = meters
  const made = { service: 'checkout', metrics, clock, tracingApi: api }
  const [client, server] = [createTelemetry({ ...made, side: 'client' }), createTelemetry({ ...made, side: 'server' })]
  const inbound = new Call({ ...KIND, service: 'checkout' }, clock.now(), Number.POSITIVE_INFINITY, undefined)
  inbound.trace = parseTraceparent(TRACEPARENT, undefined)
  server.callStarted(inbound)
  let handled = 0
  const sent = server.within(inbound, () => {
    handled += 1
    const call = new Call(KIND, clock.now(), Number.POSITIVE_INFINITY, inbound)
    client.callStarted(call)
    client.callRouted?.(call)
    const attempts = [0, 1, 2].map((number) => Object.assign(new Attempt(call), { number, hedge: number === 2 }))
    for (const attempt of attempts) client.attemptStarted(attempt)
    const dispatched = client.suppressed(() => 'dispatched')
    const mirror = new Attempt(call)
    client.mirrors!.mirrorStarted({ peer: 'copy', route: 'all' }, mirror, call)
    client.mirrors!.mirrorEnded({ peer: 'copy', route: 'all' }, mirror, SUCCESS)
    client.attemptEnded(attempts[0]!, outcome('failure', 'server-error', undefined, 503), 5)
    for (const attempt of attempts.slice(1)) client.attemptEnded(attempt, SUCCESS, -1)
    client.callEnded(call, SUCCESS)
    return { dispatched, trace: attempts[0]!.trace ?? call.trace }
  })
  server.attemptEnded(new Attempt(inbound), SUCCESS, -1)
  server.callEnded(inbound, SUCCESS)
  meters.stop()
  return { handled, ...sent, text: metrics.text() }
}

function expectWhole({ handled, dispatched, trace, text }: ReturnType<typeof callAll>): void {
  expect(handled).toBe(1)
  expect(dispatched).toBe('dispatched')
  // The trace goes on, with a span of ours or as it came.
  expect(trace?.traceId).toBe('0af7651916cd43dd8448eb211c80319c')
  expect(text).toMatch(/^inmesh_client_requests_total\{.*code="ok".*\} 1$/m)
  expect(text).toMatch(/^inmesh_server_requests_total\{.*code="ok".*\} 1$/m)
}

function spanBut(method: keyof api.Span): api.TracerProvider {
  const real = new NodeTracerProvider()
  return {
    getTracer: (name) => {
      const tracer = real.getTracer(name)
      return Object.assign(but(tracer, 'startActiveSpan'), {
        startSpan: (...given: Parameters<api.Tracer['startSpan']>) => but(tracer.startSpan(...given), method),
      })
    },
  }
}

const SPAN_METHODS = [
  'spanContext',
  'setAttribute',
  'setAttributes',
  'addEvent',
  'addLink',
  'setStatus',
  'updateName',
  'end',
  'isRecording',
] as const

describe('a tracing SDK that throws', () => {
  it.each(SPAN_METHODS)('in span.%s harms no call', (method) => {
    new NodeTracerProvider().register()
    api.trace.disable()
    api.trace.setGlobalTracerProvider(spanBut(method))
    expectWhole(callAll())
  })

  it('in getTracer or startSpan harms no call', () => {
    const real = new NodeTracerProvider()
    for (const provider of [
      but(real as api.TracerProvider, 'getTracer'),
      { getTracer: (name: string) => but(real.getTracer(name) as api.Tracer, 'startSpan') },
    ]) {
      api.trace.disable()
      api.trace.setGlobalTracerProvider(provider)
      expectWhole(callAll())
    }
  })

  it.each(['active', 'with'] as const)('in context.%s runs each handler once', (method) => {
    new NodeTracerProvider().register()
    const manager = api.context as unknown as { _getContextManager(): api.ContextManager }
    const real = manager._getContextManager()
    let calls = 0
    // It works while it is looked for, and fails afterwards.
    const good = method === 'with' ? 1 : 4
    const broken = new Proxy(real, {
      get: (target, name) => {
        const value = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          if (name === method && ++calls > good) throw new Error('broken')
          return value.apply(target, given)
        }
      },
    })
    api.context.disable()
    api.context.setGlobalContextManager(broken)
    expectWhole(callAll())
    expect(calls).toBeGreaterThan(good)
  })

  it('after the work, in context.with, gives what the work gave', () => {
    new NodeTracerProvider().register()
    const manager = (api.context as unknown as { _getContextManager(): api.ContextManager })._getContextManager()
    const late: api.ContextManager = {
      active: () => manager.active(),
      bind: (context, target) => manager.bind(context, target),
      enable: () => late,
      disable: () => late,
      with: (context, work, self, ...given) => {
        const value = manager.with(context, work, self, ...given)
        if (given.length === 0 && value === undefined && context !== api.ROOT_CONTEXT) throw new Error('late')
        return value
      },
    }
    api.context.disable()
    api.context.setGlobalContextManager(late)
    expectWhole(callAll())
  })
})

describe('a metrics SDK that throws', () => {
  const meter = api.createNoopMeter()
  const methods = [
    'createHistogram',
    'createObservableCounter',
    'createObservableGauge',
    'addBatchObservableCallback',
    'removeBatchObservableCallback',
  ] as const
  it.each(methods)('in meter.%s harms no call, nor the end of a mesh', (method) => {
    api.metrics.setGlobalMeterProvider({ getMeter: () => but({ ...meter, ...bound(meter) }, method) })
    expectWhole(callAll())
  })

  it('in getMeter or record harms no call', () => {
    const record = { ...meter, ...bound(meter), createHistogram: () => but({ record() {} }, 'record') }
    for (const provider of [but({ getMeter: () => meter }, 'getMeter'), { getMeter: () => record as api.Meter }]) {
      api.metrics.disable()
      api.metrics.setGlobalMeterProvider(provider)
      expectWhole(callAll())
    }
  })

  it('when its callback is removed gives way to the next provider', () => {
    const clock = new FakeClock()
    const meters = new MeterExport(api, clock, () => [])
    const provide = (name: keyof api.Meter | undefined): string[] => {
      const made: string[] = []
      const good = {
        ...meter,
        ...bound(meter),
        createHistogram: (given: string) => {
          made.push(given)
          return { record() {} }
        },
      }
      api.metrics.disable()
      api.metrics.setGlobalMeterProvider({ getMeter: () => (name === undefined ? good : but(good, name)) as api.Meter })
      meters.isOn()
      return made
    }
    expect(provide('removeBatchObservableCallback')).not.toEqual([])
    expect(provide(undefined)).not.toEqual([])
    meters.stop()
  })
})

/** The methods of its prototype, which a spread leaves out. */
function bound(of: api.Meter): api.Meter {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(of)).filter((name) => name !== 'constructor')
  const all = of as unknown as Record<string, (...given: unknown[]) => unknown>
  return Object.fromEntries(methods.map((name) => [name, all[name]!.bind(of)])) as unknown as api.Meter
}
