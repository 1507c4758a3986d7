/** A program closes its server by the server's own methods, as it did before the mesh served it. */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js'
import { fastify } from 'fastify'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { Rig } from '../end-to-end/rig.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }

let rig: Rig
let registry: Registry
let shop: Mesh
let checkout: Mesh

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ dev: true })
  shop = await rig.mesh(registry, 'shop')
  checkout = await rig.mesh(registry, 'checkout')
})

afterEach(() => rig.close())

const instances = async (): Promise<number> =>
  (await checkout.instancesOf('shop', 0)).filter(({ state }) => state === 'ready').length
const closed = (server: Server): Promise<Error | undefined> => new Promise((resolve) => server.close(resolve))

/** A request in flight, and how the handler answers it. */
async function inFlight(server: Server): Promise<{ answer: Promise<Response>; response: ServerResponse }> {
  const answer = checkout.fetch('http://shop/')
  answer.catch(() => undefined)
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse]
  return { answer, response }
}

it('close() of an HTTP server leaves the mesh, and calls back after the last request', async () => {
  const server = createServer((request) => request.resume())
  const events: string[] = []
  server.on('close', () => events.push('close'))
  await shop.serve(server, LOOPBACK)
  expect(server.listening).toBe(true)
  const { answer, response } = await inFlight(server)
  const ended = closed(server).then((error) => events.push(error === undefined ? 'called back' : error.message))
  await expect.poll(instances).toBe(0)
  expect(events).toEqual([])
  response.end('whole')
  expect(await (await answer).text()).toBe('whole')
  await ended
  expect(events).toEqual(['close', 'called back'])
  expect(server.listening).toBe(false)
  expect(await closed(server)).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' })
})

it('close() ends every port on which a server is served, and emits close once', async () => {
  const server = createServer((_request, response) => response.end())
  let closes = 0
  server.on('close', () => closes++)
  const ports = [await shop.serve(server, LOOPBACK), await shop.serve(server, LOOPBACK)]
  expect(new Set(ports.map(({ port }) => port)).size).toBe(2)
  await ports[0]!.close()
  expect(closes).toBe(0)
  expect((await checkout.fetch('http://shop/')).status).toBe(200)
  await closed(server)
  expect(closes).toBe(1)
  await expect.poll(instances).toBe(0)
  await shop.serve(server, LOOPBACK)
  expect((await checkout.fetch('http://shop/')).status).toBe(200)
})

it('close() while a server begins to listen takes it out of the mesh all the same', async () => {
  const server = createServer((_request, response) => response.end())
  const serving = shop.serve(server, LOOPBACK)
  await once(server, 'listening')
  await closed(server)
  await serving
  await expect.poll(instances).toBe(0)
})

it('closeAllConnections() of an HTTP server cancels what runs', async () => {
  const server = createServer((request) => request.resume())
  await shop.serve(server, LOOPBACK)
  const { answer } = await inFlight(server)
  const ended = closed(server)
  server.closeAllConnections()
  await ended
  await expect(answer.then(({ status }) => status)).rejects.toThrow(/shop/)
})

it("close() of a Fastify application's server leaves the mesh, and closes the application", async () => {
  const app = fastify()
  let closes = 0
  app.addHook('onClose', async () => void closes++)
  app.get('/', async () => 'ok')
  await shop.serve(app, LOOPBACK)
  expect(await (await checkout.fetch('http://shop/')).text()).toBe('ok')
  await closed(app.server)
  expect(closes).toBe(1)
  await expect.poll(instances).toBe(0)
})

it('tryShutdown() of a gRPC server leaves the mesh, and calls back after the last call', async () => {
  let answer: (() => void) | undefined
  const server = shopServer({
    Get: (_call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<{ sku: string }>) => {
      answer = () => callback(null, { sku: 'a' })
    },
  })
  await shop.serveGrpc(server, LOOPBACK)
  const call = checkout.grpc(Shop, 'shop').promises.get({ sku: 'a' })
  await expect.poll(() => answer).toBeDefined()
  let done = false
  const ended = new Promise<Error | undefined>((resolve) => server.tryShutdown(resolve)).then((error) => {
    done = true
    return error
  })
  await expect.poll(instances).toBe(0)
  expect(done).toBe(false)
  answer!()
  expect(await call).toMatchObject({ sku: 'a' })
  expect(await ended).toBeUndefined()
})

it('forceShutdown() of a gRPC server cancels what runs, and leaves the mesh', async () => {
  const asked: unknown[] = []
  const server = shopServer({ Get: (call: unknown) => void asked.push(call) })
  await shop.serveGrpc(server, LOOPBACK)
  const call = checkout.grpc(Shop, 'shop').promises.get({ sku: 'a' }, { timeout: '30s' })
  call.catch(() => undefined)
  await expect.poll(() => asked.length).toBe(1)
  server.forceShutdown()
  await expect(call).rejects.toThrow()
  await expect.poll(instances).toBe(0)
})
