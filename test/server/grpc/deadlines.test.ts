/** Deadlines and cancellation on the serving side, for all four kinds of call. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../src/core/errors.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { FLAG, FRAME, frames } from '../../rigs/raw-http2.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, itemBytes, KINDS, type Kind, type ShopHandlers } from '../../rigs/shop.ts'
import { pause, serverStack } from '../rig.ts'
import { callHeaders, rawClient, serveShop, shopClient, Witness } from './rig.ts'

const PATHS: Readonly<Record<Kind, string>> = {
  get: '/shop.Inventory/Get',
  upload: '/shop.Inventory/Upload',
  watch: '/shop.Inventory/Watch',
  chat: '/shop.Inventory/Chat',
}

/** Headers and a message, and the end of the requests unless `open`. */
function wholeCall(id: number, path: string, more: Readonly<Record<string, string>> = {}, open = false): Buffer {
  return Buffer.concat([
    frames.headers(id, callHeaders(path, more), FLAG.endHeaders),
    frames.data(id, grpcFrame(itemBytes('a')), open ? 0 : FLAG.endStream),
  ])
}

describe('the header grpc-timeout', () => {
  it.each(['-1S', '1.5S', '123456789S', '', '1', 'abc', '1s', '1 S', 'S', '1S, 2S'])(
    'as %j is answered with INTERNAL, and no handler runs',
    async (timeout) => {
      const witness = new Witness()
      const { server, events } = await serveShop(witness.handlers)
      const client = shopClient(server.port)
      for (const kind of KINDS) {
        const metadata = new grpc.Metadata()
        metadata.set('grpc-timeout', timeout)
        const { code, details } = await begin(client, kind, { metadata }).ended
        expect([code, details]).toEqual([grpc.status.INTERNAL, expect.stringContaining('grpc-timeout')])
      }
      expect(witness.begun).toEqual([])
      await expect.poll(() => server.stats.inFlight).toBe(0)
      expect(events.of('admission:refused')).toHaveLength(4)
      expect(events.of('admission:refused')[0]).toEqual({ side: 'server', code: 'protocol-error' })
    },
  )

  it('given twice is answered with INTERNAL', async () => {
    const witness = new Witness()
    const { server, events } = await serveShop(witness.handlers)
    const raw = await rawClient(server.port)
    const twice = Buffer.concat([
      frames.headers(1, callHeaders(PATHS.get, { 'grpc-timeout': '5S' }), 0),
      frames.continuation(1, { 'grpc-timeout': '9S' }, FLAG.endHeaders),
      frames.data(1, grpcFrame(itemBytes('a')), FLAG.endStream),
    ])
    raw.write(twice)
    expect(await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)).toBeDefined()
    expect(events.of('admission:refused')).toHaveLength(1)
    expect(witness.begun).toEqual([])
  })

  it.each(['0n', '0m', '0H', '00000000S'])('as %s is expired work, which no handler sees', async (timeout) => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const client = shopClient(server.port)
    for (const kind of KINDS) {
      const metadata = new grpc.Metadata()
      metadata.set('grpc-timeout', timeout)
      const ended = await begin(client, kind, { metadata }).ended
      expect(ended.code).toBe(grpc.status.DEADLINE_EXCEEDED)
      expect(ended.metadata.get('inmesh-not-executed')).toEqual(['deadline-exceeded'])
    }
    expect(witness.begun).toEqual([])
  })

  it.each([
    ['99999999u', 99_999.999],
    ['5000m', 5_000],
    ['7S', 7_000],
    ['2M', 120_000],
    ['99999999n', 99.999_999],
  ])('as %s is exact to the unit', async (timeout, expected) => {
    let left = Number.NaN
    const handlers: ShopHandlers = {
      Get: (_call, answer) => {
        left = currentCall()!.remainingMs
        answer(null, {})
      },
    }
    const { server } = await serveShop(handlers, {}, { clock: new FakeClock({ wallNow: Date.now() }) })
    const metadata = new grpc.Metadata()
    metadata.set('grpc-timeout', timeout)
    await begin(shopClient(server.port), 'get', { metadata }).ended
    expect(left).toBeCloseTo(expected, 6)
  })

  it('of 99999999H leaves a stream without an end, and a unary call with five minutes', async () => {
    const left: number[] = []
    const { server } = await serveShop({
      Get: (call, answer) => {
        left.push(currentCall()!.remainingMs, Number(call.getDeadline()) - Date.now())
        answer(null, {})
      },
      Watch: (call) => {
        left.push(currentCall()!.remainingMs)
        call.end()
      },
    })
    const metadata = new grpc.Metadata()
    metadata.set('grpc-timeout', '99999999H')
    const client = shopClient(server.port)
    await begin(client, 'get', { metadata }).ended
    await begin(client, 'watch', { metadata }).ended
    expect(left[0]).toBeLessThanOrEqual(300_000)
    expect(left[0]).toBeGreaterThan(290_000)
    expect(Math.abs(left[1]! - left[0]!)).toBeLessThan(10_000)
    expect(left[2]).toBeGreaterThan(1e12)
  })
})

/** Time passes only where the test says so. */
async function serveTimed(handlers: ShopHandlers, stack = serverStack()) {
  const clock = new FakeClock({ wallNow: Date.now() })
  return { ...(await serveShop(handlers, { keepalive: '1h' }, { clock, stack: { ...stack, clock } })), clock }
}

describe('a deadline that passes', () => {
  it.each(KINDS)('ends the handler of a %s call: its signal, its event and its answer', async (kind) => {
    const witness = new Witness()
    const { server, clock } = await serveTimed(witness.handlers)
    // By hand, because a client of grpc-js ends its call itself.
    const raw = await rawClient(server.port)
    raw.write(wholeCall(1, PATHS[kind], { 'grpc-timeout': '60m' }, kind === 'chat'))
    await expect.poll(() => witness.begun).toEqual([kind])
    clock.advance(61)
    const answer = await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)
    expect(answer).toBeDefined()
    await expect.poll(() => witness.cancelled).toEqual([kind])
    expect(witness.aborted.map((reason) => (reason as MeshError).code)).toEqual(['deadline-exceeded'])
    if (kind === 'chat') raw.write(frames.data(1, Buffer.alloc(0), FLAG.endStream))
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('is told as DEADLINE_EXCEEDED', async () => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const metadata = new grpc.Metadata()
    metadata.set('grpc-timeout', '60m')
    const { code, details } = await begin(shopClient(server.port), 'get', { metadata }).ended
    expect([code, details]).toEqual([grpc.status.DEADLINE_EXCEEDED, expect.stringMatching(/passed after \d+ ms/)])
  })

  it('while the request is still coming keeps the handler from beginning', async () => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const raw = await rawClient(server.port)
    for (const [i, kind] of (['get', 'watch'] as const).entries()) {
      const id = 2 * i + 1
      raw.write(wholeCall(id, PATHS[kind], { 'grpc-timeout': '50m' }, true))
      expect(await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === id)).toBeDefined()
      raw.write(frames.data(id, Buffer.alloc(0), FLAG.endStream))
    }
    await expect.poll(() => server.stats.inFlight).toBe(0)
    expect(witness.begun).toEqual([])
  })

  it('is not undone by a handler that goes on', async () => {
    const { server } = await serveShop({
      Get: (_call, answer) => {
        currentCall()!.signal.addEventListener('abort', () => setTimeout(() => answer(null, { sku: 'late' }), 5))
      },
      Watch: (call) => {
        const timer = setInterval(() => call.write({ sku: 'x', filler: Buffer.alloc(10_000) }), 1)
        call.on('cancelled', () => setTimeout(() => clearInterval(timer), 30))
      },
    })
    const client = shopClient(server.port)
    for (const kind of ['get', 'watch'] as const) {
      const metadata = new grpc.Metadata()
      metadata.set('grpc-timeout', '60m')
      const { code } = await begin(client, kind, { metadata }).ended
      expect([kind, code]).toEqual([kind, grpc.status.DEADLINE_EXCEEDED])
    }
    await pause(50)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('of the service bounds a unary call that has none of its own', async () => {
    const witness = new Witness()
    const { server, clock } = await serveTimed(witness.handlers, serverStack([], 60))
    const { ended } = begin(shopClient(server.port), 'get')
    await expect.poll(() => witness.begun).toEqual(['get'])
    clock.advance(61)
    expect((await ended).code).toBe(grpc.status.DEADLINE_EXCEEDED)
    await expect.poll(() => witness.aborted).toHaveLength(1)
  })
})

describe('a caller that gives up', () => {
  it.each(KINDS)('by cancelling its %s call ends the signal of the handler', async (kind) => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const running = begin(shopClient(server.port), kind, { open: kind === 'chat' || kind === 'upload' })
    await expect.poll(() => witness.begun).toEqual([kind])
    running.cancel()
    await expect.poll(() => witness.aborted).toHaveLength(1)
    expect(witness.aborted[0]).toMatchObject({ name: 'MeshError', code: 'cancelled', method: PATHS[kind] })
    await expect.poll(() => [witness.cancelled, server.stats.inFlight]).toEqual([[kind], 0])
  })

  it.each(KINDS)('by losing its connection ends the signal of the handler of a %s call', async (kind) => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const raw = await rawClient(server.port)
    raw.write(wholeCall(1, PATHS[kind], {}, kind === 'chat' || kind === 'upload'))
    await expect.poll(() => witness.begun).toEqual([kind])
    raw.socket.resetAndDestroy()
    await expect.poll(() => witness.aborted).toHaveLength(1)
    expect(witness.aborted[0]).toMatchObject({ code: 'cancelled' })
    await expect.poll(() => [witness.cancelled, server.stats.inFlight]).toEqual([[kind], 0])
  })

  it.each(['cancel', 'end and cancel', 'reset', 'end'] as const)(
    'in the middle of its requests (%s) never looks as if they were complete',
    async (how) => {
      const witness = new Witness()
      const { server } = await serveShop(witness.handlers)
      // The end completes a single request.
      for (const kind of how === 'end and cancel' ? (['upload', 'chat'] as const) : KINDS) {
        const raw = await rawClient(server.port)
        raw.write(wholeCall(1, PATHS[kind], {}, true))
        await expect.poll(() => server.stats.inFlight).toBe(1)
        // What came has been read. Before its end, a single request shows nothing of that.
        if (kind === 'get' || kind === 'watch') await pause(20)
        else await expect.poll(() => witness.received).toHaveLength(kind === 'upload' ? 1 : 2)
        if (how === 'cancel') raw.write(frames.reset(1))
        // As grpc-js cancels.
        else if (how === 'end and cancel') raw.write(frames.data(1, Buffer.alloc(0), FLAG.endStream), frames.reset(1))
        else if (how === 'reset') raw.socket.resetAndDestroy()
        else raw.socket.end()
        await expect.poll(() => server.stats.inFlight).toBe(0)
        await pause(20)
      }
      expect(witness.begun).toEqual(['upload', 'chat'])
      expect(witness.complete).toEqual([])
      expect(witness.received).toEqual(['a', 'a'])
      await expect.poll(() => witness.cancelled).toEqual(['upload', 'chat'])
    },
  )
})
