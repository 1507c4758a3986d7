/** The spans of an application that has instrumentation-grpc beside the mesh. */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type * as Grpc from '@grpc/grpc-js'
import * as api from '@opentelemetry/api'
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const require = createRequire(import.meta.url)
const instrumentation = new GrpcInstrumentation()
const stops: (() => Promise<void>)[] = []
let registry: Registry
let grpc: typeof Grpc

interface Item {
  readonly sku: string
}

beforeAll(async () => {
  provider.register()
  instrumentation.setTracerProvider(provider)
  // What is loaded from now on by require() is patched.
  grpc = require('@grpc/grpc-js')
  registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
})

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

afterAll(async () => {
  instrumentation.disable()
  await registry.close()
  await provider.shutdown()
})

const toBytes = (item: Item): Buffer => Buffer.from(item.sku)
const fromBytes = (bytes: Buffer): Item => ({ sku: bytes.toString() })

function method(name: string, requestStream: boolean, responseStream: boolean) {
  return {
    ...{ path: `/shop.Inventory/${name}`, originalName: name, requestStream, responseStream },
    ...{ requestSerialize: toBytes, requestDeserialize: fromBytes },
    ...{ responseSerialize: toBytes, responseDeserialize: fromBytes },
  }
}

const service = {
  get: method('Get', false, false),
  upload: method('Upload', true, false),
  watch: method('Watch', false, true),
  chat: method('Chat', true, true),
}

/** The span that is active in each handler. */
const inside: (api.Span | undefined)[] = []

function handlers(): Grpc.UntypedServiceImplementation {
  const note = (): void => void inside.push(api.trace.getActiveSpan())
  return {
    get(call: Grpc.ServerUnaryCall<Item, Item>, answer: Grpc.sendUnaryData<Item>) {
      note()
      answer(null, call.request)
    },
    upload(call: Grpc.ServerReadableStream<Item, Item>, answer: Grpc.sendUnaryData<Item>) {
      note()
      call.on('data', () => {}).on('end', () => answer(null, { sku: 'all' }))
    },
    watch(call: Grpc.ServerWritableStream<Item, Item>) {
      note()
      call.write({ sku: 'a' })
      call.end()
    },
    chat(call: Grpc.ServerDuplexStream<Item, Item>) {
      note()
      call.on('data', (item: Item) => call.write(item)).on('end', () => call.end())
    },
  }
}

async function join(name: string, transport: 'http1' | 'auto'): Promise<Mesh> {
  const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
  const mesh = await joinMesh({ ...options, service: name, transport })
  stops.push(() => mesh.close())
  return mesh
}

/** A client of a server that has joined. */
async function setUp(transport: 'http1' | 'auto') {
  const name = `inventory-${transport}`
  const server = new grpc.Server()
  server.addService(service, handlers())
  await (await join(name, transport)).serveGrpc(server)
  const mesh = await join('checkout', transport)
  const client = mesh.grpc(grpc.makeClientConstructor(service, 'Inventory') as never, name) as unknown as Client
  // The first call connects and may meet a server that is not listed yet. Its spans are no others'.
  exporter.reset()
  await client.promises.get!({ sku: 'a' })
  await bothEnded()
  return client
}

interface Client {
  get(item: Item, answered: (error: Grpc.ServiceError | null, item?: Item) => void): void
  upload(answered: (error: Grpc.ServiceError | null, item?: Item) => void): Grpc.ClientWritableStream<Item>
  watch(item: Item): Grpc.ClientReadableStream<Item>
  chat(): Grpc.ClientDuplexStream<Item, Item>
  readonly promises: Record<string, (given: unknown) => Promise<Item> & AsyncIterable<Item>>
}

const spansOfKind = (kind: api.SpanKind) => exporter.getFinishedSpans().filter((span) => span.kind === kind)

/** The spans of a call, of its attempt and of its request. */
async function bothEnded(): Promise<void> {
  const { SpanKind } = api
  await expect.poll(() => spansOfKind(SpanKind.SERVER).length > 0 && spansOfKind(SpanKind.CLIENT).length > 1).toBe(true)
  // A span too many would end in this turn or the next.
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** All spans of one call of the client, once both sides have ended. */
async function spansOf(call: () => Promise<unknown>) {
  exporter.reset()
  inside.length = 0
  await call()
  await bothEnded()
  return { client: spansOfKind(api.SpanKind.CLIENT), server: spansOfKind(api.SpanKind.SERVER) }
}

const drain = async (answers: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of answers);
}

const CALLS: Record<string, (client: Client) => Promise<unknown>> = {
  'unary, by callback': (client) => new Promise((resolve) => client.get({ sku: 'a' }, resolve)),
  'unary, by promise': (client) => client.promises.get!({ sku: 'a' }),
  'a stream of requests, by callback': (client) =>
    new Promise((resolve) => {
      const call = client.upload(resolve)
      call.write({ sku: 'a' })
      call.end({ sku: 'b' })
    }),
  'a stream of requests, by promise': (client) => client.promises.upload!([{ sku: 'a' }, { sku: 'b' }]),
  'a stream of answers, by events': (client) =>
    once(
      client.watch({ sku: 'a' }).on('data', () => {}),
      'end',
    ),
  'a stream of answers, by iterator': (client) => drain(client.promises.watch!({ sku: 'a' })),
  'streams both ways, by events': async (client) => {
    const call = client.chat().on('data', () => {})
    call.write({ sku: 'a' })
    call.end()
    await once(call, 'end')
  },
  'streams both ways, by iterator': (client) => drain(client.promises.chat!([{ sku: 'a' }])),
}

describe.each(['http1', 'auto'] as const)('beside instrumentation-grpc, over %s', (transport) => {
  it.each(Object.entries(CALLS))('a call has one span, each attempt one, and each request: %s', async (_, call) => {
    const client = await setUp(transport)
    const { client: calls, server: requests } = await spansOf(() => call(client))
    expect(requests.map(({ name }) => name)).toHaveLength(1)
    expect(calls.map(({ name }) => name)).toHaveLength(2)
    const parentOf = (span: (typeof calls)[number] | undefined) => span?.parentSpanContext?.spanId
    const own = calls.find((span) => parentOf(span) === undefined)
    const attempt = calls.find((span) => span !== own)
    expect(parentOf(attempt)).toBe(own!.spanContext().spanId)
    expect(parentOf(requests[0])).toBe(attempt!.spanContext().spanId)
    expect(own!.attributes).toMatchObject({ 'service.peer.name': `inventory-${transport}` })
    expect(requests[0]!.attributes).toMatchObject({ 'service.peer.name': 'checkout', 'rpc.system.name': 'grpc' })
    expect(inside.map((span) => span?.spanContext().spanId)).toEqual([requests[0]!.spanContext().spanId])
  })
})
