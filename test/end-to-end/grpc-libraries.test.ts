/** Clients and servers of other gRPC libraries, and plain ones of grpc-js, in a real mesh. */
import { once } from 'node:events'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { GrpcTransport } from '@protobuf-ts/grpc-transport'
import { MessageType, ScalarType } from '@protobuf-ts/runtime'
import { ServiceType, stackIntercept } from '@protobuf-ts/runtime-rpc'
import { type Client, createClient, createServer, waitForChannelReady } from 'nice-grpc'
import { type CallContext, Metadata, ServerError, Status } from 'nice-grpc-common'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, type Mesh } from '../../src/index.ts'
import { grpcServerOf } from '../../src/server/grpc/nice-grpc.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { SHOP } from '../client/grpc/rig.ts'

interface Item {
  readonly sku: string
}

interface Stock extends Item {
  readonly left: number
}

const { shop } = grpc.loadPackageDefinition(
  loadSync(join(import.meta.dirname, '../rigs/protos/shop.proto')),
) as unknown as { shop: { Inventory: { service: grpc.ServiceDefinition } } }
/** As nice-grpc has it: methods in camelCase. */
const INVENTORY = Object.fromEntries(
  Object.values(shop.Inventory.service).map((method) => [
    method.originalName!,
    { ...method, options: method.originalName === 'get' ? { idempotencyLevel: 'NO_SIDE_EFFECTS' as const } : {} },
  ]),
)

const ITEM = new MessageType<Item>('shop.Item', [{ no: 1, name: 'sku', kind: 'scalar', T: ScalarType.STRING }])
const STOCK = new MessageType<Stock>('shop.Stock', [
  { no: 1, name: 'sku', kind: 'scalar', T: ScalarType.STRING },
  { no: 2, name: 'left', kind: 'scalar', T: ScalarType.INT32 },
])
const PROTOBUF_TS = new ServiceType('shop.Inventory', [
  { name: 'Get', options: {}, I: ITEM, O: STOCK, idempotency: 'NO_SIDE_EFFECTS' },
  { name: 'Watch', options: {}, I: ITEM, O: STOCK, serverStreaming: true },
])

interface NiceShop {
  get(item: Item, options?: object): Promise<Stock>
  take(item: Item, options?: object): Promise<Stock>
  upload(items: AsyncIterable<Item>): Promise<Stock>
  watch(item: Item): AsyncIterable<Stock>
  chat(items: AsyncIterable<Item>): AsyncIterable<Stock>
}

const ASK = [
  '/shop.Inventory/Take',
  (item: Item): Buffer => SHOP.service.Get.requestSerialize(item),
  (bytes: Buffer): Stock => SHOP.service.Get.responseDeserialize(bytes),
] as const

let testMesh: TestMesh
let inventory: Mesh
let mesh: Mesh
let nice: ReturnType<typeof createServer>
/** How many of the next calls fail, though they were executed. */
let failures = 0
let executed = 0
let callers: (string | undefined)[] = []
/** Calls, and streams, without an end: whose handler began, and saw its cancellation. */
let slow = { begun: 0, cancelled: 0 }
let slowStreams = { begun: 0, cancelled: 0 }

async function* items(...skus: string[]): AsyncGenerator<Item> {
  for (const sku of skus) yield { sku }
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const value of values) found.push(value)
  return found
}

function answer(item: Item): Stock {
  executed += 1
  callers.push(currentCall()?.peer?.service)
  if (failures-- > 0) throw new ServerError(Status.UNAVAILABLE, 'not now')
  return { sku: item.sku, left: 7 }
}

async function aborted(signal: AbortSignal, counts: typeof slow): Promise<never> {
  counts.begun += 1
  if (!signal.aborted) await once(signal, 'abort')
  counts.cancelled += 1
  throw signal.reason
}

const IMPLEMENTATION = {
  async get(item: Item, { metadata, header, trailer }: CallContext) {
    header.set('x-head', metadata.get('x-asked') ?? '')
    trailer.set('x-tail', 'b')
    return answer(item)
  },
  async take(item: Item, { signal }: CallContext) {
    if (item.sku === 'slow') await aborted(signal, slow)
    return answer(item)
  },
  async upload(given: AsyncIterable<Item>) {
    return { sku: (await all(given)).map(({ sku }) => sku).join(), left: 1 }
  },
  async *watch(item: Item, { signal }: CallContext) {
    yield { sku: item.sku, left: 2 }
    yield { sku: item.sku, left: 1 }
    if (item.sku === 'slow') await aborted(signal, slowStreams)
  },
  async *chat(given: AsyncIterable<Item>) {
    for await (const { sku } of given) yield { sku, left: 1 }
  },
}

beforeAll(async () => {
  testMesh = await startTestMesh()
  inventory = await testMesh.join('inventory')
  nice = createServer()
  nice.add(INVENTORY as never, IMPLEMENTATION as never)
  await inventory.serveGrpc(nice)
  mesh = await testMesh.join('checkout')
})
beforeEach(() => {
  failures = 0
  executed = 0
  callers = []
  slow = { begun: 0, cancelled: 0 }
  slowStreams = { begun: 0, cancelled: 0 }
})
afterAll(() => testMesh.close())

function niceClient(options?: Parameters<Mesh['grpcChannel']>[1]): NiceShop {
  return createClient(INVENTORY as never, mesh.grpcChannel('inventory', options)) as Client<never> as NiceShop
}

describe('a client and a server of nice-grpc', () => {
  it('make all four kinds of call, with the verified caller', async () => {
    const client = niceClient({ definitions: INVENTORY })
    expect(await client.get({ sku: 'a' })).toMatchObject({ sku: 'a', left: 7 })
    expect(callers).toEqual(['checkout'])
    expect(await client.upload(items('a', 'b'))).toMatchObject({ sku: 'a,b' })
    expect((await all(client.watch({ sku: 'a' }))).map(({ left }) => left)).toEqual([2, 1])
    expect((await all(client.chat(items('a', 'b')))).map(({ sku }) => sku)).toEqual(['a', 'b'])
  })

  it('exchange metadata, headers and trailers', async () => {
    const got: (string | undefined)[] = []
    const onHeader = (header: Metadata): unknown => got.push(header.get('x-head'))
    const onTrailer = (trailer: Metadata): unknown => got.push(trailer.get('x-tail'))
    const options = { metadata: Metadata({ 'x-asked': 'a' }), onHeader, onTrailer }
    await niceClient({ definitions: INVENTORY }).get({ sku: 'a' }, options)
    expect(got).toEqual(['a', 'b'])
  })

  it('wait for the channel', async () => {
    const channel = mesh.grpcChannel('inventory', { definitions: INVENTORY })
    await waitForChannelReady(channel, new Date(Date.now() + 10_000))
  })

  it('cancel a call by its signal, and a stream by leaving the loop', async () => {
    const abort = new AbortController()
    const call = niceClient().take({ sku: 'slow' }, { signal: abort.signal })
    const ended = expect(call).rejects.toMatchObject({ name: 'AbortError' })
    await expect.poll(() => slow.begun).toBe(1)
    abort.abort()
    await ended
    await expect.poll(() => slow.cancelled).toBe(1)
    for await (const { left } of niceClient({ definitions: INVENTORY }).watch({ sku: 'slow' })) {
      if (left > 1) continue
      await expect.poll(() => slowStreams.begun).toBe(1)
      break
    }
    await expect.poll(() => slowStreams.cancelled).toBe(1)
  })

  it('end a stream whose server leaves, with its reason', async () => {
    const other = await testMesh.join('leaving')
    const server = createServer()
    server.add(INVENTORY as never, IMPLEMENTATION as never)
    const served = await other.serveGrpc(server)
    const channel = mesh.grpcChannel('leaving', { definitions: INVENTORY })
    const client = createClient(INVENTORY as never, channel) as Client<never> as NiceShop
    const stream = all(client.watch({ sku: 'slow' }))
    const failed = expect(stream).rejects.toMatchObject({ code: Status.UNAVAILABLE })
    await expect.poll(() => slowStreams.begun).toBe(1)
    await Promise.all([served.end(), failed])
    await served.close()
    // nice-grpc makes a new Server for each start.
    await server.shutdown()
    await (await other.serveGrpc(server)).close()
  })

  it('repeat what the definitions call idempotent, and nothing else', async () => {
    const client = niceClient({ definitions: INVENTORY })
    failures = 1
    expect(await client.get({ sku: 'a' })).toMatchObject({ left: 7 })
    expect(executed).toBe(2)
    failures = 1
    await expect(client.take({ sku: 'a' })).rejects.toMatchObject({ code: Status.UNAVAILABLE, details: 'not now' })
    expect(executed).toBe(3)
  })

  it('know nothing of the methods without definitions, unless they are named', async () => {
    failures = 1
    await expect(niceClient().get({ sku: 'a' })).rejects.toMatchObject({ code: Status.UNAVAILABLE })
    for (const idempotent of [true, ['shop.Inventory/Take'], ['/shop.Inventory/*']] as const) {
      executed = 0
      failures = 1
      expect(await niceClient({ idempotent }).take({ sku: 'a' })).toMatchObject({ left: 7 })
      expect(executed).toBe(2)
    }
  })
})

describe('a client of protobuf-ts', () => {
  const transport = (): GrpcTransport =>
    new GrpcTransport({
      host: 'inventory',
      channelCredentials: grpc.credentials.createInsecure(),
      clientOptions: { channelOverride: mesh.grpcChannel('inventory', { definitions: PROTOBUF_TS }) },
    })

  it('makes calls, and repeats what its definition calls idempotent', async () => {
    const carrier = transport()
    const [get, watch] = PROTOBUF_TS.methods
    failures = 1
    const options = carrier.mergeOptions({ timeout: 10_000 })
    const { response } = await stackIntercept<Item, Stock>('unary', carrier, get as never, options, { sku: 'a' })
    expect(response).toEqual({ sku: 'a', left: 7 })
    expect(executed).toBe(2)
    const call = stackIntercept<Item, Stock>('serverStreaming', carrier, watch as never, options, { sku: 'a' })
    expect((await all(call.responses)).map(({ left }) => left)).toEqual([2, 1])
  })
})

describe('a plain client of grpc-js', () => {
  it('takes the channel', async () => {
    const channelOverride = mesh.grpcChannel('inventory')
    const client = new grpc.Client('inventory', grpc.credentials.createInsecure(), { channelOverride })
    const stock = await new Promise((resolve, reject) => {
      client.makeUnaryRequest(...ASK, { sku: 'a' }, (error, value) => (error === null ? resolve(value) : reject(error)))
    })
    expect(stock).toMatchObject({ sku: 'a', left: 7 })
    client.close()
    expect(() => client.makeUnaryRequest(...ASK, { sku: 'a' }, () => {})).toThrow('was closed')
  })

  it('bounds what it receives', async () => {
    const client = niceClient({ definitions: INVENTORY, maxReceiveMessageBytes: 1 })
    await expect(client.get({ sku: 'a' })).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED })
  })
})

describe('mistakes', () => {
  it('in the arguments of a channel name the argument and what is valid', () => {
    const definitions = shop.Inventory.service
    expect(() => mesh.grpcChannel('No Name')).toThrow('expected a service name')
    expect(() => mesh.grpcChannel('inventory', { definition: definitions } as never)).toThrow('definitions')
    expect(() => mesh.grpcChannel('inventory', { definitions: SHOP as never })).toThrow('a service definition')
    const wrong = [{ a: 1 }, {}, null, [], { typeName: 'a', methods: [null] }, { fullName: 'a', methods: { a: 1 } }]
    for (const each of wrong) {
      expect(() => mesh.grpcChannel('inventory', { definitions: [definitions, each] as never })).toThrow(
        'definitions[1]: expected a service definition of grpc-js, nice-grpc, ts-proto or protobuf-ts',
      )
    }
    expect(() => mesh.grpcChannel('inventory', { definitions, idempotent: ['shop.Inventory/Gte'] })).toThrow(
      'idempotent[0]: is no method of `definitions`; they are shop.Inventory/Get, shop.Inventory/Take',
    )
  })

  it('of the library say what takes its place', async () => {
    for (const client of [INVENTORY, class {}]) {
      expect(() => mesh.grpc(client as never, 'inventory')).toThrow('take mesh.grpcChannel')
    }
    await expect(mesh.serveGrpc((() => {}) as never)).rejects.toThrow('mesh.serve takes handlers')
    await expect(mesh.serveGrpc({} as never)).rejects.toThrow('expected a Server of @grpc/grpc-js or of nice-grpc')
  })

  it('of a nice-grpc server that listens or is served already', async () => {
    await expect(inventory.serveGrpc(nice)).rejects.toThrow('server: listens or is served already')
    const listening = createServer()
    await listening.listen('127.0.0.1:0')
    await expect(inventory.serveGrpc(listening)).rejects.toThrow('mesh.serveGrpc takes the place of listen()')
    await listening.shutdown()
  })

  it('leave a nice-grpc server that cannot be served as it was', async () => {
    const server = createServer()
    server.add(INVENTORY as never, {} as never)
    for (const _again of [1, 2]) {
      await expect(inventory.serveGrpc(server)).rejects.toThrow('server: is refused by nice-grpc')
    }
    const whole = createServer()
    whole.add(INVENTORY as never, IMPLEMENTATION as never)
    const { port } = await inventory.serveGrpc(createServer())
    await expect(inventory.serveGrpc(whole, { port })).rejects.toThrow('EADDRINUSE')
    await (await inventory.serveGrpc(whole)).close()
  })

  it('of a nice-grpc server on another copy of grpc-js name the command that shows both', async () => {
    class Server {
      bindAsync(): void {}
    }
    const server = createServer()
    await expect(grpcServerOf(server, { Server } as never)).rejects.toThrow('npm ls @grpc/grpc-js')
    await (await inventory.serveGrpc(server)).close()
  })

  it('are none where another server of nice-grpc begins to listen in the same turn', async () => {
    const [served, listening] = [createServer(), createServer()]
    const [own, port] = await Promise.all([inventory.serveGrpc(served), listening.listen('127.0.0.1:0')])
    expect(port).toBeGreaterThan(0)
    await listening.shutdown()
    await own.close()
  })
})
