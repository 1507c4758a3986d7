/** Clients and servers of connect-es in a real mesh, by the Connect protocol and by grpc-web. */
import { once } from 'node:events'
import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  MethodOptions_IdempotencyLevel,
} from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, createClient, type HandlerContext, type Transport } from '@connectrpc/connect'
import * as node from '@connectrpc/connect-node'
import * as web from '@connectrpc/connect-web'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, type Mesh, meshErrorOf } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

interface Item {
  readonly sku: string
}

interface Stock extends Item {
  readonly left: number
}

interface Options {
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
}

interface Shop {
  get(item: Item, options?: Options): Promise<Stock>
  take(item: Item, options?: Options): Promise<Stock>
  upload(items: AsyncIterable<Item>, options?: Options): Promise<Stock>
  watch(item: Item, options?: Options): AsyncIterable<Stock>
}

const STRING = { label: FieldDescriptorProto_Label.OPTIONAL, type: FieldDescriptorProto_Type.STRING }
const INT32 = { label: FieldDescriptorProto_Label.OPTIONAL, type: FieldDescriptorProto_Type.INT32 }
const METHOD = { inputType: '.shop.Item', outputType: '.shop.Stock' }
const FILE = create(FileDescriptorProtoSchema, {
  name: 'shop.proto',
  package: 'shop',
  syntax: 'proto3',
  messageType: [
    { name: 'Item', field: [{ ...STRING, name: 'sku', jsonName: 'sku', number: 1 }] },
    {
      name: 'Stock',
      field: [
        { ...STRING, name: 'sku', jsonName: 'sku', number: 1 },
        { ...INT32, name: 'left', jsonName: 'left', number: 2 },
      ],
    },
  ],
  service: [
    {
      name: 'Inventory',
      method: [
        { ...METHOD, name: 'Get', options: { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS } },
        { ...METHOD, name: 'Take' },
        { ...METHOD, name: 'Upload', clientStreaming: true },
        { ...METHOD, name: 'Watch', serverStreaming: true },
      ],
    },
  ],
})
/** As `protoc-gen-es` writes it. */
const INVENTORY: DescService = createFileRegistry(FILE, () => undefined).getService('shop.Inventory')!

let testMesh: TestMesh
let mesh: Mesh
/** How many of the next calls fail, though they were executed. */
let failures = 0
let calls: { method: string; caller: string | undefined }[] = []
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

function answer(item: Item, { requestMethod }: HandlerContext): Stock {
  calls.push({ method: requestMethod, caller: currentCall()?.peer?.service })
  if (failures-- > 0) throw new ConnectError('not now', Code.Unavailable)
  return { sku: item.sku, left: 7 }
}

async function aborted(signal: AbortSignal, counts: typeof slow): Promise<never> {
  counts.begun += 1
  if (!signal.aborted) await once(signal, 'abort')
  counts.cancelled += 1
  throw signal.reason
}

const IMPLEMENTATION = {
  get: answer,
  take: async (item: Item, context: HandlerContext) =>
    item.sku === 'slow' ? await aborted(context.signal, slow) : answer(item, context),
  async upload(given: AsyncIterable<Item>) {
    return { sku: (await all(given)).map(({ sku }) => sku).join(), left: 1 }
  },
  async *watch(item: Item, { signal }: HandlerContext) {
    yield { sku: item.sku, left: 2 }
    yield { sku: item.sku, left: 1 }
    if (item.sku === 'slow') await aborted(signal, slowStreams)
  },
}

function clientOn(transport: Transport): Shop {
  return createClient(INVENTORY, transport) as unknown as Shop
}

beforeAll(async () => {
  testMesh = await startTestMesh()
  const inventory = await testMesh.join('inventory')
  await inventory.serve(
    node.connectNodeAdapter({ routes: (router) => void router.service(INVENTORY, IMPLEMENTATION as never) }),
  )
  mesh = await testMesh.join('checkout')
})
beforeEach(() => {
  failures = 0
  calls = []
  slow = { begun: 0, cancelled: 0 }
  slowStreams = { begun: 0, cancelled: 0 }
})
afterAll(() => testMesh.close())

const baseUrl = 'http://inventory.mesh'
const TRANSPORTS: Record<string, (of: Mesh) => Transport> = {
  'Connect over mesh.fetch': (of) => web.createConnectTransport({ baseUrl, fetch: of.fetch }),
  'grpc-web over mesh.fetch': (of) => web.createGrpcWebTransport({ baseUrl, fetch: of.fetch }),
  'Connect over mesh.agent()': (of) =>
    node.createConnectTransport({ baseUrl, httpVersion: '1.1', nodeOptions: { agent: of.agent() } }),
  'grpc-web over mesh.agent()': (of) =>
    node.createGrpcWebTransport({ baseUrl, httpVersion: '1.1', nodeOptions: { agent: of.agent() } }),
}

describe.each(Object.entries(TRANSPORTS))('a transport of connect-es, %s,', (name, transport) => {
  it('makes calls and reads streams, with the verified caller', async () => {
    const client = clientOn(transport(mesh))
    expect(await client.get({ sku: 'a' })).toMatchObject({ sku: 'a', left: 7 })
    expect(calls).toEqual([{ method: 'POST', caller: 'checkout' }])
    expect((await all(client.watch({ sku: 'a' }))).map(({ left }) => left)).toEqual([2, 1])
    if (name.endsWith('agent()')) expect(await client.upload(items('a', 'b'))).toMatchObject({ sku: 'a,b' })
  })

  it('has the status of the handler, and repeats nothing that may not be', async () => {
    failures = 1
    const failed = await clientOn(transport(mesh))
      .take({ sku: 'a' })
      .catch((reason) => reason)
    expect(failed).toMatchObject({ code: Code.Unavailable, rawMessage: 'not now' })
    expect(calls).toHaveLength(1)
  })

  it('cancels a call by its signal or its time, and a stream by leaving the loop', async () => {
    const client = clientOn(transport(mesh))
    const abort = new AbortController()
    const call = client.take({ sku: 'slow' }, { signal: abort.signal })
    const ended = expect(call).rejects.toMatchObject({ code: Code.Canceled })
    await expect.poll(() => slow.begun).toBe(1)
    abort.abort()
    await ended
    await expect.poll(() => slow.cancelled).toBe(1)
    const late = client.take({ sku: 'slow' }, { timeoutMs: 50 })
    await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded })
    for await (const { left } of client.watch({ sku: 'slow' })) {
      if (left > 1) continue
      await expect.poll(() => slowStreams.begun).toBe(1)
      break
    }
    await expect.poll(() => slowStreams.cancelled).toBe(1)
  })

  it('keeps the error of the mesh', async () => {
    const leaver = await testMesh.join('leaver')
    const client = clientOn(transport(leaver))
    await leaver.close()
    const failed = await client.get({ sku: 'a' }).catch((reason) => reason)
    expect(meshErrorOf(failed)?.code).toBe('closed')
  })
})

it('a method without side effects is a GET if its transport says so, and is repeated', async () => {
  for (const transport of [
    web.createConnectTransport({ baseUrl, fetch: mesh.fetch, useHttpGet: true }),
    node.createConnectTransport({
      baseUrl,
      httpVersion: '1.1',
      nodeOptions: { agent: mesh.agent() },
      useHttpGet: true,
    }),
  ]) {
    calls = []
    failures = 1
    expect(await clientOn(transport).get({ sku: 'a' })).toMatchObject({ left: 7 })
    expect(calls.map(({ method }) => method)).toEqual(['GET', 'GET'])
  }
})
