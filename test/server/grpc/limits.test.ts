/** Limits, faults on purpose, handlers that fail, and callers that do not read. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { Policy } from '../../../src/core/policy.ts'
import { resolveFaults } from '../../../src/resilience/fault-injection.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { FLAG, FRAME, frames } from '../../rigs/raw-http2.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes, KINDS, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { OneAtATime, pause, serverStack } from '../rig.ts'
import { callHeaders, metadata, rawClient, serveShop, shopClient, Witness } from './rig.ts'

const hello: ShopHandlers = { Get: (_call, answer) => answer(null, { sku: 'hello' }) }

describe('limits', () => {
  it('answer UNAVAILABLE with a wait and the mark of not being executed, and admit again afterwards', async () => {
    const limit = new OneAtATime()
    const witness = new Witness()
    const { server, events } = await serveShop(witness.handlers, {}, { stack: serverStack([limit]) })
    const client = shopClient(server.port)
    for (const holder of KINDS) {
      const held = begin(client, holder, { open: holder === 'upload' || holder === 'chat' })
      await expect.poll(() => limit.running).toBe(1)
      for (const kind of KINDS) {
        const items = [{ sku: 'a', filler: Buffer.alloc(100_000) }]
        const refused = await begin(client, kind, { items, open: kind === 'chat' }).ended
        expect(refused.code).toBe(grpc.status.UNAVAILABLE)
        expect(refused.metadata.get('inmesh-not-executed')).toEqual(['concurrency-limited'])
        expect(refused.metadata.get('grpc-retry-pushback-ms')).toEqual(['1000'])
      }
      held.cancel()
      await expect.poll(() => [limit.running, server.stats.inFlight]).toEqual([0, 0])
    }
    expect(witness.begun).toEqual(KINDS)
    expect(limit.settled).toEqual(['cancelled', 'cancelled', 'cancelled', 'cancelled'])
    expect(events.of('admission:refused')).toHaveLength(16)
  })

  it('answer RESOURCE_EXHAUSTED when the rate is exceeded', async () => {
    const limit: Policy = { name: 'rate', admit: () => 'rate-limited', settle() {} }
    const { server, events } = await serveShop(hello, {}, { stack: serverStack([limit]) })
    const { code, metadata: trailers } = await begin(shopClient(server.port), 'get').ended
    expect(code).toBe(grpc.status.RESOURCE_EXHAUSTED)
    expect(trailers.get('inmesh-not-executed')).toEqual(['rate-limited'])
    expect(trailers.get('grpc-retry-pushback-ms')).toEqual(['1000'])
    expect(events.of('admission:refused')).toEqual([{ side: 'server', code: 'rate-limited' }])
  })

  it('of connections drop what exceeds them', async () => {
    const { server } = await serveShop(hello, { maxConnections: 1 })
    const first = shopClient(server.port)
    expect((await begin(first, 'get').ended).code).toBe(grpc.status.OK)
    expect((await begin(shopClient(server.port), 'get').ended).code).toBe(grpc.status.UNAVAILABLE)
    expect((await begin(first, 'get').ended).code).toBe(grpc.status.OK)
  })

  it('of streams on one connection are a thousand, unless the Server says otherwise', async () => {
    for (const [options, expected] of [
      [{}, 1_000],
      [{ 'grpc.max_concurrent_streams': 7 }, 7],
    ] as const) {
      const { server } = await serveShop(shopServer(hello, options))
      const raw = await rawClient(server.port)
      const { payload } = raw.received.find(({ type, flags }) => type === FRAME.settings && flags === 0)!
      const settings = new Map<number, number>()
      for (let at = 0; at < payload.length; at += 6)
        settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2))
      expect(settings.get(3)).toBe(expected)
    }
  })
})

describe('the channel options of a Server', () => {
  it.each([
    ['grpc.max_connection_age_ms', { 'grpc.max_connection_age_ms': 50, 'grpc.max_connection_age_grace_ms': 50 }],
    ['grpc.max_connection_idle_ms', { 'grpc.max_connection_idle_ms': 50 }],
  ])('keep their effect: %s asks a connection to leave', async (_name, options) => {
    const { server } = await serveShop(shopServer(hello, options))
    const raw = await rawClient(server.port)
    await expect.poll(() => raw.received.some(({ type }) => type === FRAME.goAway)).toBe(true)
  })

  it('keep their effect: grpc.keepalive_time_ms asks a silent connection for a sign of life', async () => {
    const { server } = await serveShop(shopServer(hello, { 'grpc.keepalive_time_ms': 50 }))
    const raw = await rawClient(server.port)
    await expect.poll(() => raw.received.some(({ type, flags }) => type === FRAME.ping && flags === 0)).toBe(true)
  })

  it.each([
    ['grpc.max_receive_message_length', grpc.status.RESOURCE_EXHAUSTED],
    ['grpc.max_send_message_length', grpc.status.RESOURCE_EXHAUSTED],
  ])('keep their effect: %s', async (name, code) => {
    const handlers: ShopHandlers = {
      Get: (_call, answer) => answer(null, { sku: 'a', filler: Buffer.alloc(2_000) }),
    }
    const { server } = await serveShop(shopServer(handlers, { [name]: 1_000 }))
    const items = [{ sku: 'a', filler: Buffer.alloc(2_000) }]
    expect((await begin(shopClient(server.port), 'get', { items }).ended).code).toBe(code)
  })
})

describe('faults on purpose', () => {
  it('fail, delay or serve as the rules say, and tell each', async () => {
    let served = 0
    const { server, events } = await serveShop(
      {
        Get: (_call, answer) => {
          served += 1
          answer(null, { sku: 'served' })
        },
      },
      {
        faults: [
          { status: 503, headers: { 'x-fault': 'fail' } },
          { grpcStatus: 'ABORTED', headers: { 'x-fault': 'abort' } },
          { delay: 60, headers: { 'x-fault': 'wait' } },
          { delay: 20, grpcStatus: 'INTERNAL', headers: { 'x-fault': 'both' } },
        ],
      },
    )
    const client = shopClient(server.port)
    const asked = (fault: string) => begin(client, 'get', { metadata: metadata({ 'x-fault': fault }) }).ended
    const failed = await asked('fail')
    expect(failed.code).toBe(grpc.status.UNAVAILABLE)
    // The handler may have run, so a call that must not be repeated is not.
    expect(failed.metadata.get('inmesh-not-executed')).toEqual([])
    expect((await asked('abort')).code).toBe(grpc.status.ABORTED)
    expect(served).toBe(0)
    expect((await asked('wait')).answers[0]?.sku).toBe('served')
    expect((await asked('both')).code).toBe(grpc.status.INTERNAL)
    expect((await asked('none')).code).toBe(grpc.status.OK)
    expect(served).toBe(2)
    expect(events.of('fault:injected').map(({ delayMs, status }) => [delayMs, status])).toEqual([
      [0, grpc.status.UNAVAILABLE],
      [0, grpc.status.ABORTED],
      [60, 0],
      [20, grpc.status.INTERNAL],
    ])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('are those of the document in force, for all four kinds', async () => {
    const handlers: ShopHandlers = {
      ...hello,
      Upload: (call, answer) => call.resume().on('end', () => answer(null, {})),
      Watch: (call) => call.end(),
      Chat: (call) => call.resume().on('end', () => call.end()),
    }
    const { server } = await serveShop(handlers)
    const client = shopClient(server.port)
    const codes = async () => Promise.all(KINDS.map(async (kind) => (await begin(client, kind).ended).code))
    expect(await codes()).toEqual([0, 0, 0, 0])
    server.stack = { ...serverStack(), faults: resolveFaults([{ delay: 5, grpcStatus: 'DATA_LOSS' }]) }
    expect(await codes()).toEqual([15, 15, 15, 15])
    server.stack = { ...serverStack(), faults: resolveFaults([{ delay: 5 }]) }
    expect(await codes()).toEqual([0, 0, 0, 0])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('do not outlive a deadline, nor the caller', async () => {
    const witness = new Witness()
    const clock = new FakeClock({ wallNow: Date.now() })
    const stack = { ...serverStack(), clock }
    const { server } = await serveShop(witness.handlers, { faults: [{ delay: '2s' }] }, { clock, stack })
    const client = shopClient(server.port)
    const late = begin(client, 'get', { metadata: metadata({ 'grpc-timeout': '1S' }) })
    await expect.poll(() => server.stats.inFlight).toBe(1)
    clock.advance(1_001)
    expect((await late.ended).code).toBe(grpc.status.DEADLINE_EXCEEDED)
    await expect.poll(() => server.stats.inFlight).toBe(0)
    const gone = begin(client, 'get')
    await expect.poll(() => server.stats.inFlight).toBe(1)
    gone.cancel()
    await expect
      .poll(() => {
        clock.advance(500)
        return server.stats.inFlight
      })
      .toBe(0)
    clock.advance(2_001)
    await pause(20)
    expect(witness.begun).toEqual([])
  })
})

describe('handlers that fail', () => {
  it('by throwing are answered with UNKNOWN without internals, for all four kinds', async () => {
    const failing = (): never => {
      throw new Error('secret detail')
    }
    const { server } = await serveShop({ Get: failing, Upload: failing, Watch: failing, Chat: failing })
    const client = shopClient(server.port)
    for (const kind of KINDS) {
      const { code, details } = await begin(client, kind, { open: kind === 'chat' }).ended
      expect([kind, code]).toEqual([kind, grpc.status.UNKNOWN])
      expect(details).not.toContain('secret')
    }
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('by answering twice, or writing after the end, hurt neither the server nor other calls', async () => {
    const { server } = await serveShop({
      Get: (call, answer) => {
        answer(null, { sku: 'first' })
        if (call.request.sku === 'twice') answer({ code: 13 })
        else if (call.request.sku === 'later') setTimeout(() => answer(null, { sku: 'second' }), 20)
      },
      Watch: (call) => {
        call.on('error', () => {})
        call.write({ sku: 'one' })
        call.end()
        call.write({ sku: 'two' })
        setTimeout(() => call.write({ sku: 'three' }), 20)
      },
    })
    const client = shopClient(server.port)
    const later = await begin(client, 'get', { items: [{ sku: 'later' }] }).ended
    expect([later.code, later.answers[0]?.sku]).toEqual([0, 'first'])
    await begin(client, 'get', { items: [{ sku: 'twice' }] }).ended
    // Its own stream is broken then, and grpc-js sends no status: only the deadline ends it.
    await begin(client, 'watch', { metadata: metadata({ 'grpc-timeout': '100m' }) }).ended
    expect((await begin(client, 'get').ended).code).toBe(grpc.status.OK)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('never make a claim that they did not execute', async () => {
    const lie = metadata({ 'inmesh-not-executed': 'closed', kept: '1' })
    const { server } = await serveShop({
      Get: (call, answer) => {
        call.sendMetadata(lie)
        answer({ code: 14, details: 'no', metadata: lie })
      },
      Upload: (_call, answer) => answer(null, {}, lie),
      Watch: (call) => call.emit('error', { code: 14, details: 'no', metadata: lie }),
      Chat: (call) => {
        call.sendMetadata(lie)
        call.end(lie)
      },
    })
    const client = shopClient(server.port)
    for (const kind of KINDS) {
      const running = begin(client, kind)
      const heads: grpc.Metadata[] = []
      running.call.on('metadata', (head: grpc.Metadata) => heads.push(head))
      const { metadata: trailers } = await running.ended
      expect([kind, trailers.get('inmesh-not-executed'), trailers.get('kept')]).toEqual([kind, [], ['1']])
      for (const head of heads) expect(head.get('inmesh-not-executed')).toEqual([])
    }
  })
})

describe('a caller that does not read', () => {
  const CHUNK = 16_384

  async function stuck(timeout: string) {
    let written = 0
    let over = false
    const witness = { aborted: false, cancelled: false }
    const { server } = await serveShop({
      Watch: async (call) => {
        currentCall()!.signal.addEventListener('abort', () => {
          witness.aborted = true
        })
        call.on('cancelled', () => {
          witness.cancelled = true
          over = true
        })
        while (!over) {
          written += 1
          if (call.write({ filler: Buffer.alloc(CHUNK) })) await pause(0)
          else await new Promise<void>((resolve) => call.once('drain', resolve).once('close', resolve))
        }
      },
    })
    const raw = await rawClient(server.port)
    // Of the 64 KiB that it grants at first it gives nothing back.
    raw.write(
      frames.headers(1, callHeaders('/shop.Inventory/Watch', { 'grpc-timeout': timeout }), FLAG.endHeaders),
      frames.data(1, grpcFrame(itemBytes('a')), FLAG.endStream),
    )
    await raw.frame(({ type }) => type === FRAME.data)
    return { server, raw, witness, written: () => written }
  }

  it('holds the handler up: its writes wait, and begin again when something was read', async () => {
    const { raw, written } = await stuck('60S')
    await expect
      .poll(async () => {
        const before = written()
        await pause(100)
        return written() - before
      })
      .toBe(0)
    const held = written()
    // 64 KiB on the wire, what Node holds of a stream, and the 16 messages of an object stream.
    expect(held * CHUNK).toBeLessThan(1_048_576)
    raw.write(frames.windowUpdate(0, 2 ** 20), frames.windowUpdate(1, 2 ** 20))
    await expect.poll(written).toBeGreaterThan(held + 40)
  })

  it('is cut some seconds after its deadline; the handler hears of the deadline at once', async () => {
    const { server, raw, witness } = await stuck('300m')
    await expect.poll(() => witness).toEqual({ aborted: true, cancelled: true })
    expect(server.stats.inFlight).toBe(1)
    expect(await raw.frame(({ type, streamId }) => type === FRAME.reset && streamId === 1)).toBeDefined()
    await expect.poll(() => server.stats.inFlight).toBe(0)
    expect(raw.closed).toBe(false)
  })
})
