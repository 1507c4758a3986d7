/** Processes of one user on one machine: Unix sockets beside the ports, and back to the ports. */
import { existsSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { currentCall, type Mesh, type ServeOptions } from '../../src/index.ts'
import { LocalDirectory } from '../../src/net/local-directory.ts'
import type { Registry } from '../../src/registry/index.ts'
import { Seen } from '../client/websocket/rig.ts'
import { Rig } from '../end-to-end/rig.ts'
import { request } from '../rigs/registry-session.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

let rig: Rig
let registry: Registry
let client: Mesh
let server: Mesh
const sockets = new WebSocketServer({ noServer: true })

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ dev: true })
})

afterEach(async () => {
  for (const one of sockets.clients) one.terminate()
  await rig.close()
})

/** Port 0 on our side: the caller has come by the Unix socket. */
const how = ({ socket }: IncomingMessage): string => (socket.remotePort === 0 ? 'local' : 'tcp')

async function start(transport: 'auto' | 'http1', options: ServeOptions = {}, sameHost = true): Promise<string> {
  server = await rig.mesh(registry, 'inventory', { sameHost, transport })
  client = await rig.mesh(registry, 'checkout', { sameHost: true, transport })
  await server.serve(
    (req, response) => {
      const { remoteAddress } = req.socket
      response.end(`${how(req)} ${currentCall()?.peer?.service} ${currentCall()?.transport} ${remoteAddress}`)
    },
    {
      onUpgrade: (request, socket, head) => {
        sockets.handleUpgrade(request, socket, head, (one) => one.send(how(request)))
      },
      ...options,
    },
  )
  return find('inventory')
}

/** The path of the last instance's socket; empty if there is none. */
async function find(service: string): Promise<string> {
  const { json } = await request(registry, 'GET', `/v1/services/${service}`)
  const { local } = json.instances.at(-1)
  return local === undefined ? '' : LocalDirectory.open()!.find(local)!
}

const ask = async (): Promise<string> => (await client.http('inventory').get('/')).text()

test.each([
  ['http1', 'http/1.1'],
  ['auto', 'inmesh/1'],
] as const)('a call takes the Unix socket, with the identity of its caller: %s', async (transport, carried) => {
  const path = await start(transport)
  expect(await ask()).toBe(`local checkout ${carried} 127.0.0.1`)
  const seen = await new Seen(client.webSocket('inventory', '/')).heard('message')
  expect(seen.messages).toEqual(['local'])
  expect(existsSync(path)).toBe(true)
  await server.close()
  expect(existsSync(path)).toBe(false)
})

test.each([
  ['the socket is gone', (path: string) => rmSync(path)],
  [
    'another process listens on it that is not of the service',
    async (path: string) => {
      rmSync(path)
      const stranger = createServer((socket) => socket.end('hello'))
      rig.onClose(() => stranger.close())
      await new Promise<void>((resolve) => stranger.listen({ path }, resolve))
    },
  ],
])('the port is taken without losing a call if %s', async (_what, spoil) => {
  const path = await start('http1')
  await spoil(path)
  expect(await ask()).toMatch(/^tcp checkout/)
  expect(await ask()).toMatch(/^tcp checkout/)
})

test('there is none for a server that is told its address, or is told not to', async () => {
  expect(await start('http1', { advertise: '127.0.0.1' })).toBe('')
  expect(await ask()).toMatch(/^tcp/)
  expect(await start('http1', {}, false)).toBe('')
})

test('gRPC over inmesh/1 and TCP connections take it as well', async () => {
  const [shop, redis] = [
    await rig.mesh(registry, 'shop', { sameHost: true, transport: 'auto' }),
    await rig.mesh(registry, 'redis', { sameHost: true }),
  ]
  client = await rig.mesh(registry, 'checkout', { sameHost: true, transport: 'auto' })
  await shop.serveGrpc(shopServer({ Get: (call, answer) => answer(null, { sku: call.getPeer() }) }))
  await redis.listen('redis', (socket) => socket.end(`${socket.remotePort}`))
  const places = await Promise.all(['shop', 'redis'].map(find))
  // Without a port, which the caller at a Unix socket does not have.
  expect((await client.grpc(Shop, 'shop').promises.get({ sku: 'a' })).sku).toBe('127.0.0.1')
  expect(await text(client.connect('redis'))).toBe('0')
  expect(places.every((path) => path !== '' && existsSync(path))).toBe(true)
})

test('a plaintext server has one as well', async () => {
  await start('http1', { mode: 'plaintext' })
  expect(await ask()).toBe('local undefined http/1.1 127.0.0.1')
})
