/** The standard health service, by which gRPC clients of any kind ask whether a server is well. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { resolveFaults } from '../../../src/resilience/fault-injection.ts'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { begin, type ShopClient, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { OneAtATime, serverStack } from '../rig.ts'
import { http2ShopClient, meshClient, serveShop, shopClient } from './rig.ts'

const hello: ShopHandlers = { Get: (_call, answer) => answer(null, { sku: currentCall()?.service ?? '' }) }
const [UNKNOWN, SERVING, NOT_SERVING] = [3, 1, 2]

function nameBytes(service: string): Buffer {
  return service === '' ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, service.length), Buffer.from(service)])
}

const stateOf = (bytes: Buffer): number => bytes[1] ?? 0

/** The state, or the gRPC status of the failure, negated. */
function check(client: ShopClient, service = ''): Promise<number> {
  return new Promise((resolve) =>
    client.makeUnaryRequest('/grpc.health.v1.Health/Check', nameBytes, stateOf, service, (error, state) =>
      resolve(error === null ? state! : -error.code),
    ),
  )
}

function watch(client: ShopClient, service = ''): { states: number[]; ended: Promise<grpc.StatusObject> } {
  const states: number[] = []
  const stream = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', nameBytes, stateOf, service)
  const ended = new Promise<grpc.StatusObject>((resolve) => stream.on('status', resolve))
  stream.on('data', (state: number) => states.push(state))
  stream.on('error', () => {})
  return { states, ended }
}

describe('health', () => {
  it('is told by Check for the server and for each of its services', async () => {
    const { server } = await serveShop(hello)
    const client = shopClient(server.port)
    expect(await check(client)).toBe(SERVING)
    expect(await check(client, 'shop.Inventory')).toBe(SERVING)
    expect(await check(client, 'shop.Inv')).toBe(-grpc.status.NOT_FOUND)
    expect(await check(client, 'shop.Orders')).toBe(-grpc.status.NOT_FOUND)
  })

  it('follows the drain in Check and Watch, and holds no drain up', async () => {
    const { server } = await serveShop(hello)
    const client = shopClient(server.port)
    const watched = ['', 'shop.Inventory', 'shop.Orders'].map((service) => watch(client, service))
    await expect.poll(() => watched.map(({ states }) => states)).toEqual([[SERVING], [SERVING], [UNKNOWN]])
    const seen = Promise.withResolvers<void>()
    const report = server.drain({ lameDuckMs: 50_000, seen: seen.promise, graceMs: 60_000 })
    await expect
      .poll(() => watched.map(({ states }) => states))
      .toEqual([[SERVING, NOT_SERVING], [SERVING, NOT_SERVING], [UNKNOWN]])
    const late = shopClient(server.port)
    expect(await check(late)).toBe(NOT_SERVING)
    expect(await check(late, 'shop.Inventory')).toBe(NOT_SERVING)
    const lateWatch = watch(late)
    await expect.poll(() => lateWatch.states).toEqual([NOT_SERVING])
    seen.resolve()
    expect(await report).toMatchObject({ cancelled: 0 })
    for (const { ended } of [...watched, lateWatch]) expect((await ended).code).toBe(grpc.status.OK)
  })

  it.each(['plaintext', 'permissive'] as const)(
    'is told to those who prove nothing only if they may call (%s)',
    async (mode) => {
      const denied = { authorizer: compileIntentions([], 'deny'), service: 'inventory' }
      const closed = await serveShop(hello, { mode }, denied)
      expect(await check(shopClient(closed.server.port))).toBe(-grpc.status.PERMISSION_DENIED)
      const open = await serveShop(hello, { mode }, { ...denied, authorizer: compileIntentions([], 'allow') })
      expect(await check(shopClient(open.server.port))).toBe(SERVING)
    },
  )

  it('is told to every proven peer, whatever the intentions say, and to nobody else', async () => {
    const { server } = await serveShop(hello, { mode: 'strict' }, { authorizer: compileIntentions([], 'deny') })
    const client = meshClient(server.port)
    expect((await begin(client, 'get').ended).code).toBe(grpc.status.PERMISSION_DENIED)
    expect(await check(client)).toBe(SERVING)
    const same = (bytes: Buffer): Buffer => bytes
    const other = new Promise((resolve) =>
      client.makeUnaryRequest('/grpc.health.v1.Health/List', same, same, Buffer.alloc(0), (error) =>
        resolve(error!.code),
      ),
    )
    expect(await other).toBe(grpc.status.PERMISSION_DENIED)
  })

  it('is told also when the server is full, and takes no room from others', async () => {
    const limit = new OneAtATime()
    const stack = {
      ...serverStack([limit]),
      faults: resolveFaults([{ grpcStatus: 'INTERNAL', headers: { never: '1' } }]),
    }
    const { server } = await serveShop({ ...hello, Take: () => {} }, { mode: 'strict' }, { stack })
    const client = meshClient(server.port)
    const watching = Array.from({ length: 5 }, () => watch(client))
    await expect.poll(() => watching.map(({ states }) => states)).toEqual(Array(5).fill([SERVING]))
    expect((await begin(client, 'get').ended).code).toBe(grpc.status.OK)
    await expect.poll(() => limit.running).toBe(0)
    const held = begin(client, 'take')
    await expect.poll(() => limit.running).toBe(1)
    expect((await begin(client, 'get').ended).code).toBe(grpc.status.UNAVAILABLE)
    expect(await check(client)).toBe(SERVING)
    held.cancel()
    await expect.poll(() => limit.running).toBe(0)
  })

  it('is left to the application if it has a health service of its own', async () => {
    const server = shopServer(hello)
    server.register(
      '/grpc.health.v1.Health/Check',
      ((_call: unknown, answer: grpc.sendUnaryData<Buffer>) => answer(null, Buffer.of(8, 7))) as never,
      ((bytes: Buffer) => bytes) as never,
      ((bytes: Buffer) => bytes) as never,
      'unary',
    )
    const intentions = compileIntentions([{ from: 'probe', grpc: ['grpc.health.v1.Health/*'] }], 'deny')
    const served = await serveShop(server, { mode: 'strict' }, { authorizer: intentions })
    expect(await check(meshClient(served.server.port, 'probe'))).toBe(7)
    // Its own methods are like all others.
    expect(await check(meshClient(served.server.port))).toBe(-grpc.status.PERMISSION_DENIED)
  })
})

describe('one Server', () => {
  it('is served on two ports, each with its own identity, limits and drain', async () => {
    const server = shopServer(hello)
    const strict = (await serveShop(server, { mode: 'strict' }, { service: 'inside' })).server
    const open = (await serveShop(server, { mode: 'plaintext' }, { service: 'outside' })).server
    const [inside, outside] = [meshClient(strict.port), shopClient(open.port)]
    expect((await begin(inside, 'get').ended).answers[0]?.sku).toBe('inside')
    expect((await begin(outside, 'get').ended).answers[0]?.sku).toBe('outside')
    const [watchedInside, watchedOutside] = [watch(inside), watch(outside)]
    await expect.poll(() => [watchedInside.states, watchedOutside.states]).toEqual([[SERVING], [SERVING]])
    expect(await strict.drain({ lameDuckMs: 0, graceMs: 60_000 })).toMatchObject({ cancelled: 0 })
    await expect.poll(() => watchedInside.states).toEqual([SERVING, NOT_SERVING])
    expect(watchedOutside.states).toEqual([SERVING])
    expect(await check(outside)).toBe(SERVING)
    expect((await begin(outside, 'get').ended).code).toBe(grpc.status.OK)
  })

  it('is served again after it was closed', async () => {
    const server = shopServer(hello)
    const first = (await serveShop(server)).server
    expect(await check(shopClient(first.port))).toBe(SERVING)
    await first.close()
    const second = (await serveShop(server, { mode: 'strict' }, { authorizer: compileIntentions([], 'deny') })).server
    expect(await check(meshClient(second.port))).toBe(SERVING)
  })

  it('that is bound already goes on serving there, without the mesh', async () => {
    const server = shopServer(hello)
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    )
    const served = (await serveShop(server)).server
    const [own, meshed] = [http2ShopClient(port), shopClient(served.port)]
    expect((await begin(meshed, 'get').ended).answers[0]?.sku).toBe('inventory')
    expect((await begin(own, 'get').ended).answers[0]?.sku).toBe('')
    expect(await check(own)).toBe(SERVING)
    await served.close()
    expect((await begin(own, 'get').ended).code).toBe(grpc.status.OK)
    server.forceShutdown()
  })
})
