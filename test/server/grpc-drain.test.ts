/** How a gRPC server goes away and how it changes its certificate: without a lost call. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../src/server/current-call.ts'
import { FLAG, FRAME, frames } from '../support/raw-http2.ts'
import { grpcFrame } from '../support/scripted-grpc-server.ts'
import { begin, type Ended, itemBytes, KINDS, type ShopHandlers } from '../support/shop.ts'
import { callHeaders, meshClient, rawClient, serveShop, shopClient, Witness } from './grpc-support.ts'
import { clientOf, pause } from './support.ts'

/** Streams last as long as the test says; unary calls a moment. */
function shop() {
  const ends: (() => void)[] = []
  const handlers: ShopHandlers = {
    Get: async (_call, answer) => {
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
  return { handlers, endStreams: () => ends.splice(0).forEach((end) => end()) }
}

describe('a drain', () => {
  it('loses no unary call, lets streams end, and leaves no connection', async () => {
    const { handlers, endStreams } = shop()
    const { server, events } = await serveShop(handlers)
    const clients = [1, 2, 3].map(() => shopClient(server.port))
    for (const client of clients) expect((await begin(client, 'get').ended).code).toBe(0)
    const streams = clients.map((client) => begin(client, 'watch'))
    const chat = begin(clients[0]!, 'chat', { open: true })
    await expect.poll(() => server.stats.inFlight).toBe(4)
    const calls: Promise<Ended>[] = []
    const report = server.drain({ lameDuckMs: 300, graceMs: 5_000 })
    for (let i = 0; i < 30; i++) {
      if (i < 25) for (const client of clients) calls.push(begin(client, 'get').ended)
      await pause(10)
    }
    await expect.poll(() => server.state).toBe('finishing')
    endStreams()
    ;(chat.call as grpc.ClientDuplexStream<unknown, unknown>).end()
    for (const call of await Promise.all(calls)) expect([call.code, call.answers[0]?.sku]).toEqual([0, 'done'])
    for (const stream of [...streams, chat]) expect((await stream.ended).code).toBe(0)
    expect(await report).toEqual({ finished: 79, cancelled: 0 })
    expect(server.stats).toMatchObject({ connections: 0, inFlight: 0 })
    expect(events.of('drain:step').map(({ step }) => step)).toEqual(['lame-duck', 'finishing', 'closed'])
  })

  it('says GOAWAY first for all that may come, and then for what has come', async () => {
    const { handlers } = shop()
    const { server } = await serveShop(handlers)
    const raw = await rawClient(server.port)
    const call = (id: number): void =>
      raw.write(
        frames.headers(id, callHeaders('/shop.Inventory/Get'), FLAG.endHeaders),
        frames.data(id, grpcFrame(itemBytes('a')), FLAG.endStream),
      )
    const goAways = (): number[] =>
      raw.received.filter(({ type }) => type === FRAME.goAway).map(({ payload }) => payload.readUInt32BE(0))
    call(1)
    const report = server.drain({ lameDuckMs: 150, graceMs: 2_000 })
    await expect.poll(goAways).toEqual([2 ** 31 - 1])
    // It was on its way, or the client has not looked yet: it is served.
    call(3)
    await expect.poll(() => server.state).toBe('finishing')
    await report
    expect(goAways()[1]).toBe(3)
    const answered = raw.received.filter(({ type }) => type === FRAME.data).map(({ streamId }) => streamId)
    expect(new Set(answered)).toEqual(new Set([1, 3]))
    for (const { payload } of raw.received.filter(({ type }) => type === FRAME.goAway)) {
      expect(payload.readUInt32BE(4)).toBe(0)
    }
  })

  it('cancels what does not finish within the grace, for all four kinds', async () => {
    const witness = new Witness()
    const { server } = await serveShop(witness.handlers)
    const client = shopClient(server.port)
    const running = KINDS.map((kind) => begin(client, kind, { open: true }))
    await expect.poll(() => server.stats.inFlight).toBe(4)
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toEqual({ finished: 0, cancelled: 4 })
    for (const { ended } of running) {
      expect(await ended).toMatchObject({ code: grpc.status.UNAVAILABLE, details: expect.stringContaining('going away') })
    }
    expect(witness.aborted.map((reason) => (reason as { code: string }).code)).toEqual(Array(4).fill('closed'))
    expect([...witness.cancelled].sort()).toEqual([...KINDS].sort())
    expect(server.state).toBe('closed')
  })

  it('goes on at once when nothing runs and all clients have seen it, and close hastens a drain', async () => {
    const { handlers } = shop()
    const { server } = await serveShop(handlers)
    await begin(shopClient(server.port), 'get').ended
    const begun = performance.now()
    await server.drain({ lameDuckMs: 10_000, seen: Promise.resolve() })
    const other = (await serveShop(handlers)).server
    const stream = begin(shopClient(other.port), 'watch')
    await expect.poll(() => other.stats.inFlight).toBe(1)
    const draining = other.drain({ lameDuckMs: 10_000 })
    await other.close()
    expect(await draining).toEqual({ finished: 0, cancelled: 1 })
    expect(performance.now() - begun).toBeLessThan(8_000)
    expect((await stream.ended).code).toBe(grpc.status.UNAVAILABLE)
    await expect(rawClient(other.port)).rejects.toThrow()
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
    expect(server.stats).toMatchObject({ connections: 0, inFlight: 0 })
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
      for (let i = 0; i < 60; i++) {
        const calls = [begin(client, 'get').ended, begin(client, 'upload').ended]
        ended.push(...(await Promise.all(calls)))
        if (i === 5) identity.rotate()
        await pause(5)
      }
    }
    expect(ended.filter(({ code }) => code !== 0)).toEqual([])
    expect(server.stats.inFlight).toBe(6)
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
    identity.rotate()
    await pause(1_000)
    expect(server.stats.inFlight).toBe(1)
    expect((await stream.ended).code).not.toBe(0)
    expect((await begin(client, 'get').ended).code).toBe(0)
    expect(server.stats).toMatchObject({ accepted: 2, connections: 1 })
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

  it('of the caller that expires ends its calls before they begin', async () => {
    const { craftLeaf } = await import('../support/certificates.ts')
    const { authority } = await import('./support.ts')
    const { handlers } = shop()
    const { server } = await serveShop(handlers, { mode: 'strict', streamGrace: 60_000 })
    const short = craftLeaf(authority, {
      uris: ['spiffe://mesh.test/service/checkout'],
      notAfter: Date.now() + 2_500,
    })
    const raw = await rawClient(server.port, short)
    await pause(1_500)
    // Long before, it is asked to leave; this one does not.
    const call = (id: number): void =>
      raw.write(
        frames.headers(id, callHeaders('/shop.Inventory/Chat'), FLAG.endHeaders),
        frames.data(id, grpcFrame(itemBytes('a'))),
      )
    call(1)
    expect(await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)).toBeDefined()
    expect(currentCall()).toBeUndefined()
    expect(await raw.frame(({ type }) => type === FRAME.goAway)).toBeDefined()
  })
})
