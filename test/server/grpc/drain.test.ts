/** How a gRPC server goes away and how it changes its certificate: without a lost call. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { craftLeaf } from '../../rigs/certificates.ts'
import { FLAG, FRAME, frames } from '../../rigs/raw-http2.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { begin, type Ended, itemBytes, KINDS, type ShopHandlers } from '../../rigs/shop.ts'
import { authority, clientOf, pause, serverStack } from '../rig.ts'
import { callHeaders, meshClient, rawClient, serveShop, shopClient, Witness } from './rig.ts'

/** Streams last as long as the test says; unary calls a moment. */
function shop() {
  const ends: (() => void)[] = []
  const counts = { begun: 0 }
  const handlers: ShopHandlers = {
    Get: async (_call, answer) => {
      counts.begun += 1
      await pause(20)
      answer(null, { sku: 'done' })
    },
    Upload: (call, answer) => call.resume().on('end', () => answer(null, { sku: 'done' })),
    Watch: (call) => {
      const timer = setInterval(() => call.write({ sku: 'tick' }), 10)
      call.on('cancelled', () => clearInterval(timer))
      ends.push(() => {
        clearInterval(timer)
        call.end()
      })
    },
    Chat: (call) => call.on('data', ({ sku }) => call.write({ sku })).on('end', () => call.end()),
  }
  const endStreams = (): void => {
    for (const end of ends.splice(0)) end()
  }
  return { handlers, endStreams, counts }
}

describe('a drain', () => {
  it('loses no unary call, lets streams end, and leaves no connection', async () => {
    const { handlers, endStreams, counts } = shop()
    const { server, events } = await serveShop(handlers)
    const clients = [1, 2, 3].map(() => shopClient(server.port))
    for (const client of clients) expect((await begin(client, 'get').ended).code).toBe(0)
    const streams = clients.map((client) => begin(client, 'watch'))
    const chat = begin(clients[0]!, 'chat', { open: true })
    await expect.poll(() => server.stats.inFlight).toBe(4)
    const calls: Promise<Ended>[] = []
    const seen = Promise.withResolvers<void>()
    const report = server.drain({ lameDuckMs: 50_000, seen: seen.promise, graceMs: 50_000 })
    for (let i = 0; i < 25; i++) {
      for (const client of clients) calls.push(begin(client, 'get').ended)
      await pause(10)
    }
    await expect.poll(() => counts.begun).toBe(78)
    seen.resolve()
    await expect.poll(() => server.state).toBe('finishing')
    endStreams()
    ;(chat.call as grpc.ClientDuplexStream<unknown, unknown>).end()
    for (const { code, details } of await Promise.all(calls)) expect([code, details]).toEqual([0, 'OK'])
    for (const stream of [...streams, chat]) expect((await stream.ended).code).toBe(0)
    expect(await report).toEqual({ finished: 79, cancelled: 0 })
    expect(server.stats).toMatchObject({ connections: 0, inFlight: 0 })
    expect(events.of('drain:step').map(({ step }) => step)).toEqual(['lame-duck', 'finishing', 'closed'])
  })

  it('says GOAWAY at once with the last stream that it serves, so that what is on its way goes elsewhere', async () => {
    const { handlers, endStreams } = shop()
    const { server } = await serveShop(handlers)
    const raw = await rawClient(server.port)
    const call = (id: number, method: string): void =>
      raw.write(
        frames.headers(id, callHeaders(`/shop.Inventory/${method}`), FLAG.endHeaders),
        frames.data(id, grpcFrame(itemBytes('a')), FLAG.endStream),
      )
    const goAways = (): number[] =>
      raw.received.filter(({ type }) => type === FRAME.goAway).map(({ payload }) => payload.readUInt32BE(0))
    call(1, 'Watch')
    call(3, 'Get')
    expect(await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 3)).toBeDefined()
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const seen = Promise.withResolvers<void>()
    const report = server.drain({ lameDuckMs: 50_000, seen: seen.promise, graceMs: 50_000 })
    await expect.poll(goAways).toEqual([3])
    call(5, 'Get')
    // A client that has not heard of the drain is still served on a new connection.
    expect((await begin(shopClient(server.port), 'get').ended).code).toBe(0)
    seen.resolve()
    await expect.poll(() => server.state).toBe('finishing')
    endStreams()
    expect(await report).toEqual({ finished: 2, cancelled: 0 })
    expect(new Set(goAways())).toEqual(new Set([3]))
    expect(raw.received.filter(({ streamId }) => streamId === 5)).toEqual([])
    const goodbye = raw.received.find(({ type }) => type === FRAME.goAway)
    expect(goodbye!.payload.readUInt32BE(4)).toBe(0)
    expect(await raw.ends()).toBe(true)
  })

  it('cancels what does not finish within the grace, for all four kinds', async () => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const client = shopClient(server.port)
    const running = KINDS.map((kind) => begin(client, kind, { open: true }))
    await expect.poll(() => [...witness.begun].sort()).toEqual([...KINDS].sort())
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toEqual({ finished: 0, cancelled: 4 })
    for (const { ended } of running) {
      expect(await ended).toMatchObject({
        code: grpc.status.UNAVAILABLE,
        details: expect.stringContaining('going away'),
      })
    }
    expect(witness.aborted.map((reason) => (reason as { code: string }).code)).toEqual(Array(4).fill('closed'))
    await expect.poll(() => [...witness.cancelled].sort()).toEqual([...KINDS].sort())
    expect(server.state).toBe('closed')
  })

  it('goes on at once when nothing runs and all clients have seen it, and close hastens a drain', async () => {
    const { handlers } = shop()
    const { server } = await serveShop(handlers)
    await begin(shopClient(server.port), 'get').ended
    const begun = performance.now()
    await server.drain({ lameDuckMs: 50_000, seen: Promise.resolve() })
    const other = (await serveShop(handlers)).server
    const stream = begin(shopClient(other.port), 'watch')
    await expect.poll(() => other.stats.inFlight).toBe(1)
    const { port } = other
    const draining = other.drain({ lameDuckMs: 50_000 })
    await other.close()
    expect(await draining).toEqual({ finished: 0, cancelled: 1 })
    expect(performance.now() - begun).toBeLessThan(40_000)
    expect((await stream.ended).code).toBe(grpc.status.UNAVAILABLE)
    await expect(rawClient(port)).rejects.toThrow()
  })

  it('ends also when a client neither reads nor closes', async () => {
    const { server } = await serveShop({
      Watch: (call) => {
        for (let i = 0; i < 50; i++) call.write({ filler: Buffer.alloc(10_000) })
      },
    })
    const raw = await rawClient(server.port)
    raw.write(
      frames.headers(1, callHeaders('/shop.Inventory/Watch'), FLAG.endHeaders),
      frames.data(1, grpcFrame(itemBytes('a')), FLAG.endStream),
    )
    await raw.frame(({ type }) => type === FRAME.data)
    raw.socket.pause()
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toEqual({ finished: 0, cancelled: 1 })
    await expect.poll(() => server.stats).toMatchObject({ connections: 0, inFlight: 0 })
  })
})

describe('a new certificate', () => {
  it('is moved to under traffic: no unary call fails, and streams outlive the old one', async () => {
    const { handlers, endStreams } = shop()
    const { server, identity } = await serveShop(handlers, { mode: 'strict', rotationGrace: 50 })
    const client = meshClient(server.port)
    const streams: ReturnType<typeof begin>[] = []
    const ended: Ended[] = []
    for (let round = 0; round < 3; round++) {
      streams.push(begin(client, 'watch'), begin(client, 'chat', { open: true }))
      for (let i = 0; i < 20 || server.stats.accepted <= round + 1; i++) {
        const calls = [begin(client, 'get').ended, begin(client, 'upload').ended]
        ended.push(...(await Promise.all(calls)))
        if (i === 5) identity.rotate()
        await pause(5)
      }
    }
    expect(ended.filter(({ code }) => code !== 0)).toEqual([])
    await expect.poll(() => server.stats.inFlight).toBe(6)
    expect(server.stats.accepted).toBe(4)
    endStreams()
    for (const { call } of streams) if ('write' in call) (call as grpc.ClientDuplexStream<unknown, unknown>).end()
    for (const stream of streams) expect((await stream.ended).code).toBe(0)
    await expect.poll(() => server.stats.connections).toBe(1)
  })

  it('gives streams of the old one so long, and then closes their connection', async () => {
    const { handlers } = shop()
    const { server, identity } = await serveShop(handlers, { mode: 'strict', rotationGrace: 0, streamGrace: 1_500 })
    const client = meshClient(server.port)
    const stream = begin(client, 'watch')
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const rotatedAt = performance.now()
    identity.rotate()
    expect((await stream.ended).code).not.toBe(0)
    // A timer may fire a part of a millisecond early.
    expect(performance.now() - rotatedAt).toBeGreaterThan(1_490)
    expect((await begin(client, 'get').ended).code).toBe(0)
    await expect.poll(() => server.stats).toMatchObject({ accepted: 2, connections: 1 })
  })

  it('is what new connections see at once', async () => {
    const { handlers } = shop()
    const { server, identity } = await serveShop(handlers, { mode: 'strict', rotationGrace: 60_000 })
    const serial = async (): Promise<string> => {
      const raw = await rawClient(server.port, clientOf('checkout'))
      return (raw.socket as import('node:tls').TLSSocket).getPeerX509Certificate()!.serialNumber
    }
    const before = await serial()
    identity.rotate()
    expect(await serial()).not.toBe(before)
  })

  it('of the caller makes its connection leave before it expires', async () => {
    const { handlers } = shop()
    const clock = new FakeClock({ wallNow: Date.now() })
    const { server } = await serveShop(
      handlers,
      { mode: 'strict', streamGrace: 60_000, keepalive: '1h' },
      { clock, stack: { ...serverStack(), clock } },
    )
    const short = craftLeaf(authority, {
      uris: ['spiffe://mesh.test/service/checkout'],
      notAfter: Date.now() + 600_000,
    })
    const raw = await rawClient(server.port, short)
    raw.write(
      frames.headers(1, callHeaders('/shop.Inventory/Chat'), FLAG.endHeaders),
      frames.data(1, grpcFrame(itemBytes('a'))),
    )
    expect(await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)).toBeDefined()
    expect(raw.received.some(({ type }) => type === FRAME.goAway)).toBe(false)
    clock.advance(590_000)
    expect(await raw.frame(({ type }) => type === FRAME.goAway)).toBeDefined()
  })
})
