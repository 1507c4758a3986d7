/**
 * What is around a handler of any kind: the call in its context, also later; its metrics and its
 * span.
 */
import * as api from '@opentelemetry/api'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { createTelemetry } from '../../../src/telemetry/call-telemetry.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { begin, KINDS, type Kind, type ShopHandlers } from '../../rigs/shop.ts'
import { pause, serverStack } from '../rig.ts'
import { meshClient, metadata, serveShop, shopClient } from './rig.ts'

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

interface Seen {
  readonly where: string
  readonly method: string | undefined
  readonly tenant: string | undefined
  readonly traceId: string | undefined
  readonly bounded: boolean
}

/** Handlers that say what they see of the call at every place where user code runs. */
function observed(seen: Seen[]): ShopHandlers {
  const look = (where: string): void => {
    const call = currentCall()
    seen.push({
      where,
      method: call?.method,
      tenant: call?.baggage.get('tenant'),
      traceId: call?.trace?.traceId,
      bounded: (call?.remainingMs ?? Number.POSITIVE_INFINITY) <= 9_000,
    })
  }
  const later = async (where: string): Promise<void> => {
    look(where)
    await pause(2)
    look(`${where} after await`)
    await new Promise((resolve) => setImmediate(resolve))
    look(`${where} after another`)
  }
  return {
    Get: async (_call, answer) => {
      await later('handler')
      answer(null, {})
    },
    Upload: (call, answer) => {
      look('handler')
      call.on('data', () => look('data'))
      call.on('end', async () => {
        await later('end')
        answer(null, {})
      })
    },
    Watch: async (call) => {
      await later('handler')
      while (call.write({ filler: Buffer.alloc(20_000) }));
      await new Promise<void>((resolve) => {
        call.on('drain', () => {
          look('drain')
          resolve()
        })
      })
      call.end()
    },
    Chat: async (call) => {
      look('handler')
      for await (const item of call) {
        await later('iteration')
        call.write({ sku: item.sku })
      }
      look('end')
      call.end()
    },
  }
}

describe('the call that is being served', () => {
  it.each(KINDS)('is there everywhere in the handler of a %s call, for each of several at once', async (kind) => {
    const seen: Seen[] = []
    const { server } = await serveShop(observed(seen))
    const client = shopClient(server.port)
    const calls = ['a', 'b', 'c'].map((tenant, i) => {
      const traceparent = TRACEPARENT.replace(/0af7/, `0af${i}`)
      const options = { metadata: metadata({ baggage: `tenant=${tenant}`, traceparent }), deadline: Date.now() + 9_000 }
      return begin(client, kind, { ...options, items: [{ sku: '1' }, { sku: '2' }] }).ended
    })
    for (const { code } of await Promise.all(calls)) expect(code).toBe(0)
    expect(seen.length).toBeGreaterThanOrEqual(9)
    for (const each of seen) {
      const i = 'abc'.indexOf(each.tenant ?? '?')
      expect(each).toMatchObject({
        method: expect.stringMatching(new RegExp(`/shop.Inventory/${kind}$`, 'i')),
        bounded: true,
      })
      expect([each.where, each.traceId]).toEqual([each.where, `0af${i}651916cd43dd8448eb211c80319c`])
    }
    for (const tenant of ['a', 'b', 'c']) expect(seen.some((each) => each.tenant === tenant)).toBe(true)
    if (kind === 'upload') expect(seen.filter(({ where }) => where === 'data')).toHaveLength(6)
    if (kind === 'watch') expect(seen.some(({ where }) => where === 'drain')).toBe(true)
    expect(currentCall()).toBeUndefined()
  })

  it('carries what the handler adds to the baggage', async () => {
    const seen: unknown[] = []
    const { server } = await serveShop({
      Upload: (call, answer) => {
        currentCall()!.setBaggage('step', '1')
        call.on('data', () => seen.push([...currentCall()!.baggage]))
        call.on('end', () => answer(null, {}))
      },
    })
    await begin(shopClient(server.port), 'upload', { metadata: metadata({ baggage: 'tenant=a' }) }).ended
    expect(seen).toEqual([
      [
        ['tenant', 'a'],
        ['step', '1'],
      ],
    ])
  })
})

describe('what is told of a served call', () => {
  let provider: NodeTracerProvider | undefined

  afterEach(async () => {
    await provider?.shutdown()
    provider = undefined
    api.trace.disable()
    api.context.disable()
    api.propagation.disable()
  })

  function traced() {
    const spans = new InMemorySpanExporter()
    provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
    provider.register()
    const metrics = new Metrics()
    const telemetry = createTelemetry({
      side: 'server',
      service: 'inventory',
      metrics,
      clock: systemClock,
      tracingApi: api,
    })
    const stack = { ...serverStack(), telemetry }
    const dependencies = {
      stack,
      runInSpan: <T>(call: Parameters<typeof telemetry.within>[0], work: () => T): T => telemetry.within(call, work),
    }
    return { spans, metrics, dependencies }
  }

  it('is one span of the method, below that of the caller and above what the handler does', async () => {
    const { spans, dependencies } = traced()
    const inner = async (): Promise<void> => {
      await pause(1)
      api.trace.getTracer('test').startSpan('work').end()
    }
    const handlers: ShopHandlers = {
      Get: async (_call, answer) => {
        await inner()
        answer({ code: 5, details: 'no such item' })
      },
      Chat: (call) => {
        call.on('data', async ({ sku }) => {
          await inner()
          call.write({ sku })
          call.end()
        })
      },
    }
    const { server } = await serveShop(handlers, { mode: 'strict' }, dependencies)
    const client = meshClient(server.port)
    for (const kind of ['get', 'chat'] as const) {
      spans.reset()
      await begin(client, kind, { metadata: metadata({ traceparent: TRACEPARENT }) }).ended
      await expect.poll(() => spans.getFinishedSpans().length).toBe(2)
      const [work, served] = spans.getFinishedSpans()
      expect(served!.name).toBe(`shop.Inventory/${kind === 'get' ? 'Get' : 'Chat'}`)
      expect(served!.kind).toBe(api.SpanKind.SERVER)
      expect(served!.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
      expect(work!.parentSpanContext?.spanId).toBe(served!.spanContext().spanId)
      expect(served!.attributes).toMatchObject({ 'rpc.system.name': 'grpc', 'rpc.method': served!.name })
    }
  })

  it('is counted by method and code, with refusals; methods that nobody serves share one name', async () => {
    const { metrics, dependencies } = traced()
    const outcomes: Record<Kind, number> = { get: 0, upload: 5, watch: 13, chat: 0 }
    const handlers: ShopHandlers = {
      Get: (_call, answer) => answer(null, {}),
      Upload: (_call, answer) => answer({ code: outcomes.upload }),
      Watch: (call) => call.emit('error', { code: outcomes.watch, details: 'broken' }),
      Chat: (call) => call.end(),
    }
    const { server } = await serveShop(handlers, { mode: 'strict' }, dependencies)
    const client = meshClient(server.port)
    for (const kind of KINDS) expect((await begin(client, kind).ended).code).toBe(outcomes[kind])
    const same = (bytes: Buffer): Buffer => bytes
    for (const path of ['/a.B/C', '/d.E/F']) {
      await new Promise((resolve) => client.makeUnaryRequest(path, same, same, Buffer.alloc(0), resolve))
    }
    await begin(client, 'get', { metadata: metadata({ 'grpc-timeout': '0m' }) }).ended
    await expect.poll(() => server.stats.inFlight).toBe(0)
    const lines = metrics
      .text()
      .split('\n')
      .filter((line) => line.startsWith('inmesh_server_requests_total'))
    const of = (method: string): string[] => lines.filter((line) => line.includes(`"${method}"`))
    expect(
      of('/shop.Inventory/Get')
        .map((line) => line.replace(/.*code="([^"]*)".* (\d+)$/, '$1 $2'))
        .sort(),
    ).toEqual(['deadline-exceeded 1', 'ok 1'])
    expect(of('/shop.Inventory/Watch').filter((line) => !line.endsWith(' 0'))).toEqual([
      expect.stringMatching(/code="server-error"\} 1$/),
    ])
    expect(of('_OTHER')).toHaveLength(1)
    expect(of('_OTHER')[0]).toMatch(/ 2$/)
    expect(lines.join('\n')).not.toContain('a.B')
  })
})
