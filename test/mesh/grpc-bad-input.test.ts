/** Wrong input to `mesh.grpc` and to the calls of its clients: named before anything is sent. */
import { createRequire } from 'node:module'
import * as grpc from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { isMeshError, type Mesh, OptionsError } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { SHOP, type Shop } from '../client/grpc/rig.ts'
import { errorOf, expectMistake } from './mistakes.ts'

let testMesh: TestMesh
let mesh: Mesh

beforeAll(async () => {
  testMesh = await startTestMesh()
  const inventory = await testMesh.join('inventory')
  const server = new grpc.Server()
  server.addService(SHOP.service as unknown as grpc.ServiceDefinition, {
    get: (_call: unknown, done: grpc.sendUnaryData<unknown>) => done(null, { sku: 'a', left: 3 }),
  })
  await inventory.serveGrpc(server)
  mesh = await testMesh.join('checkout')
})

afterAll(async () => {
  await testMesh.close()
})

const noClass = class {}

test.each([undefined, null, 'inventory.InventoryClient', {}, 5, () => {}])('%j is no client class', async (client) => {
  expectMistake(
    await errorOf(() => mesh.grpc(client as never, 'inventory')),
    'client',
    /client class|no static `service`/,
  )
})

test('a class without a service is named as such', async () => {
  expectMistake(await errorOf(() => mesh.grpc(noClass as never, 'inventory')), 'client', /no static `service`/)
})

test.each(['', 'Inventory', 'a/b', 'inventory:80', '../x', 'mesh', 'a'.repeat(64), 5, null, undefined])(
  '%j is no name of a service',
  async (name) => {
    expectMistake(await errorOf(() => mesh.grpc(SHOP, name as string)), 'service', /a service name/)
  },
)

const OPTIONS: readonly (readonly [field: string, value: unknown, valid: RegExp])[] = [
  ['idempotent', 'get', /list.*; true is valid, too$/],
  ['idempotent', false, /true|list/],
  ['idempotent', ['got'], /they are get, take, upload, watch, chat/],
  ['idempotent', ['get', ''], /name of a method/],
  ['idempotent', [5], /name of a method/],
  ['shortStreams', ['wach'], /they are get, take/],
  ['shortStreams', true, /list/],
  ['maxReceiveMessageBytes', 0, /1 to 1073741824/],
  ['maxReceiveMessageBytes', '4MB', /whole number/],
  ['maxReceiveMessageBytes', 2 ** 31, /1 to 1073741824/],
  ['interceptors', [5], /function/],
  ['interceptors', () => {}, /list/],
  ['idempotant', true, /did you mean 'idempotent'/],
  ['retry', { attempts: 2 }, /unknown key/],
]

test.each(OPTIONS)('mesh.grpc refuses %s: %j', async (field, value, valid) => {
  expectMistake(await errorOf(() => mesh.grpc(SHOP, 'inventory', { [field]: value } as object)), field, valid)
})

test('the arguments the other way round are named as such', async () => {
  expectMistake(await errorOf(() => mesh.grpc('inventory' as never, SHOP as never)), 'service', /\(Client, service\)/)
})

test('mesh.serve refuses a Server of gRPC and says what serves it', async () => {
  expectMistake(await errorOf(() => mesh.serve(new grpc.Server() as never)), 'handler', /mesh\.serveGrpc/)
})

test('an unknown option of mesh.serveGrpc is answered with all that are valid', async () => {
  const error = await errorOf(() => mesh.serveGrpc(new grpc.Server(), { tls: true } as object))
  expectMistake(error, 'tls', /valid keys are port,.*keepalive,.*advertise, metadata/)
})

test.skipIf(inject('oldestGrpc'))(
  'mesh.serveGrpc refuses a Server of another copy of grpc-js (SKIPPED with the oldest, which is that copy)',
  async () => {
    const { Server } = createRequire(import.meta.url)('grpc-js-oldest') as typeof grpc
    expectMistake(await errorOf(() => mesh.serveGrpc(new Server())), 'server', /another copy of @grpc\/grpc-js/)
  },
)

test.each(['tryShutdown', 'forceShutdown'] as const)(
  'mesh.serveGrpc refuses a Server after its %s()',
  async (method) => {
    const server = new grpc.Server()
    server[method](() => {})
    expectMistake(await errorOf(() => mesh.serveGrpc(server)), 'server', /was shut down.*a new Server/)
  },
)

test('mesh.serveGrpc refuses a channel option of its Server that would have no effect', async () => {
  const server = new grpc.Server({ 'grpc-node.tls_enable_trace': 1 })
  const error = await errorOf(() => mesh.serveGrpc(server))
  expectMistake(error, 'server', /tls_enable_trace.*would have no effect: TLS is the mesh's/)
})

test.each([null, 5, 'x', []])('%j instead of options is refused', async (options) => {
  expect(await errorOf(() => mesh.grpc(SHOP, 'inventory', options as never))).toBeInstanceOf(OptionsError)
})

const CALLS: readonly (readonly [what: string, field: string, valid: RegExp, options: object])[] = [
  ['a timeout of 0', 'timeout', /duration/, { timeout: 0 }],
  ['a timeout in words', 'timeout', /'200ms'/, { timeout: 'soon' }],
  ['a negative timeout', 'timeout', /duration/, { timeout: -5 }],
  ['a signal that is none', 'signal', /AbortSignal/, { signal: 5 }],
  ['idempotent in words', 'idempotent', /true or false/, { idempotent: 'yes' }],
  ['retry as a number', 'retry', /false/, { retry: 3 }],
  ['an empty key', 'key', /text/, { key: '' }],
  ['metadata as an object', 'metadata', /Metadata/, { metadata: { 'x-user': 'ada' } }],
  ['a typing error', 'timeuot', /did you mean 'timeout'|valid keys are/, { timeuot: 5 }],
  ['the deadline of a callback', 'deadline', /promises have timeout/, { deadline: Date.now() }],
]

test.each(CALLS)('a call with %s is refused before anything is sent', async (_what, field, valid, options) => {
  const { promises } = mesh.grpc<Shop>(SHOP, 'inventory')
  const requests = (): string[] =>
    mesh
      .metrics()
      .split('\n')
      .filter((line) => line.startsWith('inmesh_client_requests'))
  await promises.get({ sku: 'a' })
  const before = requests()
  for (const [name, work] of [
    ['get', () => promises.get({ sku: 'a' }, options)],
    ['upload', () => promises.upload([], options)],
    ['watch', () => promises.watch({ sku: 'a' }, options).next()],
    ['chat', () => promises.chat([], options).next()],
  ] as const) {
    const error = await errorOf(work)
    expectMistake(error, field, valid)
    expect((error as Error).message).toMatch(`promises.${name}: `)
  }
  expect(requests()).toEqual(before)
})

test.each([{ sku: 'a' }, undefined, null, 5])('%j is no stream of requests', async (requests) => {
  const { promises } = mesh.grpc<Shop>(SHOP, 'inventory')
  for (const work of [() => promises.upload(requests as never), () => promises.chat(requests as never).next()]) {
    expectMistake(await errorOf(work), 'requests', /promises\.(?:upload|chat): .*an iterable or async iterable/)
  }
})

test('a request that cannot be serialized fails the call of each kind, not the process', async () => {
  const client = mesh.grpc<Shop>(SHOP, 'inventory')
  const broken = Object.defineProperty({}, 'sku', {
    enumerable: true,
    get() {
      throw new Error('no sku')
    },
  }) as { sku: string }
  for (const work of [
    () => client.promises.get(broken),
    () => client.promises.upload([broken]),
    () => client.promises.watch(broken).next(),
    () => client.promises.chat([broken]).next(),
  ]) {
    const error = (await errorOf(work)) as grpc.ServiceError & { cause: unknown }
    expect([error.code, error.details]).toEqual([
      grpc.status.INTERNAL,
      expect.stringContaining('serialization failure: no sku'),
    ])
    expect(error.cause).toMatchObject({
      code: 'cancelled',
      message: expect.stringMatching(/the call was cancelled: .*serialization failure: no sku$/),
    })
  }
  expect((await client.promises.get({ sku: 'a' })).left).toBe(3)
})

test('after close there are no clients, and those that there were say so', async () => {
  const brief = await testMesh.join('brief')
  const client = brief.grpc<Shop>(SHOP, 'inventory')
  expect((await client.promises.get({ sku: 'a' })).left).toBe(3)
  await brief.close()
  const error = (await errorOf(() => client.promises.get({ sku: 'a' }))) as grpc.ServiceError & { cause: unknown }
  expect(error.code).toBe(grpc.status.UNAVAILABLE)
  expect(isMeshError(error.cause) && error.cause.sent).toBe(false)
})
