/** WebSocket servers of the frameworks under `mesh.serve`, with clients as users have them. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import fastifyWebsocket from '@fastify/websocket'
import { createAdaptorServer, upgradeWebSocket } from '@hono/node-server'
import express from 'express'
import expressWs from 'express-ws'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { Server as SocketServer } from 'socket.io'
import { io } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { meshMiddleware as ofExpress } from '../../src/frameworks/express.ts'
import { meshPlugin } from '../../src/frameworks/fastify.ts'
import { meshMiddleware as ofHono } from '../../src/frameworks/hono.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { OptionsError } from '../../src/options/fields.ts'
import { currentCall } from '../../src/server/current-call.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

/** `GET /room` by WebSocket tells who asks, then echoes; `GET /` answers `plain`. */
const SERVERS: readonly (readonly [string, () => HttpHandler])[] = [
  [
    'express-ws',
    () => {
      const app = express()
      const server = createServer(app)
      expressWs(app, server)
      app.use(ofExpress())
      ;(app as unknown as expressWs.Application).ws('/room', (socket, request) => {
        socket.send(`for ${request.call?.peer?.service}`)
        socket.on('message', (text) => socket.send(String(text)))
      })
      app.get('/', (_request, response) => void response.send('plain'))
      return server
    },
  ],
  [
    '@fastify/websocket',
    () => {
      const app = fastify()
      app.register(meshPlugin, {})
      app.register(fastifyWebsocket)
      app.register(async (inner) => {
        inner.get('/room', { websocket: true }, (socket, request) => {
          socket.send(`for ${request.call?.peer?.service}`)
          socket.on('message', (text) => socket.send(String(text)))
        })
      })
      app.get('/', async () => 'plain')
      return app
    },
  ],
  [
    '@hono/node-server',
    () => {
      const app = new Hono()
      app.use(ofHono())
      app.get(
        '/room',
        upgradeWebSocket((c) => {
          const service = c.get('call')?.peer?.service
          return {
            onOpen: (_event, socket) => socket.send(`for ${service}`),
            onMessage: (event, socket) => socket.send(String(event.data)),
          }
        }),
      )
      app.get('/', (c) => c.text('plain'))
      const websocket = { server: new WebSocketServer({ noServer: true }) as never }
      return createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false, websocket }) as HttpHandler
    },
  ],
  [
    'Koa with ws',
    () => {
      const app = new Koa()
      app.use((ctx) => {
        ctx.body = 'plain'
      })
      const server = createServer(app.callback())
      const room = new WebSocketServer({ noServer: true })
      server.on('upgrade', (request, socket, head) => {
        const service = currentCall()?.peer?.service
        room.handleUpgrade(request, socket, head, (member) => {
          member.send(`for ${service}`)
          member.on('message', (text) => member.send(String(text)))
        })
      })
      return server
    },
  ],
]

let testMesh: TestMesh
let checkout: Mesh
beforeAll(async () => {
  testMesh = await startTestMesh()
  checkout = await testMesh.join('checkout')
})
afterAll(() => testMesh.close())

async function joined(service: string, handler: HttpHandler): Promise<Mesh> {
  const mesh = await testMesh.join(service, { drainTimeout: '50s' })
  await mesh.serve(handler)
  return mesh
}

describe.each(SERVERS.map(([name, make], i) => [name, `rooms-${i}`, make] as const))('%s', (_name, service, make) => {
  it('takes WebSockets of both kinds of client beside requests, and asks them to close when it drains', async () => {
    const mesh = await joined(service, make())
    expect(await (await checkout.fetch(`http://${service}/`)).text()).toBe('plain')

    const first = checkout.webSocket(service, '/room')
    const heard: unknown[] = []
    const got = (count: number) => expect.poll(() => heard.length).toBe(count)
    first.addEventListener('message', ({ data }) => {
      heard.push(data)
      if (heard.length === 1) first.send('echo')
    })
    await got(2)
    const second = new WebSocket(`ws://${service}/room`, { createConnection: checkout.createConnection(service) })
    second.on('message', (text) => heard.push(`ws: ${text}`))
    await got(3)
    expect(heard).toEqual(['for checkout', 'echo', 'ws: for checkout'])

    const closed = Promise.all([once(first, 'close'), once(second, 'close')])
    await mesh.close()
    const [[event], [code]] = (await closed) as [[CloseEvent], [number]]
    expect([event.code, code]).toEqual([1001, 1001])
  })
})

it('socket.io runs over its WebSocket, through the mesh', async () => {
  const server = createServer()
  const rooms = new SocketServer(server)
  rooms.on('connection', (socket) => {
    socket.on('ask', (text: string, answer: (text: string) => void) => answer(`${text}!`))
  })
  await joined('socket-io', server)
  const { port } = await gateway('socket-io')
  for (const transports of [['websocket'], ['polling', 'websocket']]) {
    const client = io(`http://127.0.0.1:${port}`, { transports, forceNew: true })
    onTestFinished(() => void client.disconnect())
    expect(await client.timeout(30_000).emitWithAck('ask', 'hello')).toBe('hello!')
  }

  /** What passes requests and upgrades on through the mesh, as an edge does. */
  async function gateway(service: string): Promise<{ port: number }> {
    const http = checkout.http(service)
    const edge = createServer(async (request, response) => {
      const { status, headers, body } = await http.request(request.method!, request.url!, {
        headers: { 'content-type': request.headers['content-type'] ?? 'text/plain' },
        ...(request.method === 'POST' && { body: request }),
      })
      response.writeHead(status, { 'content-type': headers.get('content-type') ?? 'text/plain' })
      for await (const part of body) response.write(part)
      response.end()
    })
    edge.on('upgrade', (request, socket, head) => {
      const onward = checkout.createConnection(service)({} as never) as unknown as Socket
      onward.write(
        `GET ${request.url} HTTP/1.1\r\n${request.rawHeaders.reduce((text, each, i) => text + each + (i % 2 === 0 ? ': ' : '\r\n'), '')}\r\n`,
      )
      onward.write(head)
      onward.pipe(socket).pipe(onward)
      for (const each of [socket, onward]) each.on('error', () => {})
    })
    edge.listen(0, '127.0.0.1')
    await once(edge, 'listening')
    onTestFinished(() => {
      edge.closeAllConnections()
      edge.close()
    })
    return edge.address() as { port: number }
  }
})

it('an Express application whose WebSockets would reach no listener is refused with what to serve', async () => {
  const { app } = expressWs(express())
  const mesh = await testMesh.join('unserved')
  await expect(mesh.serve(app)).rejects.toThrow(OptionsError)
  await expect(mesh.serve(app)).rejects.toThrow(/expressWs\(app, server\)/)
})

it('what an application listens on by itself stays outside the mesh, beside what the mesh serves', async () => {
  const app = express()
  app.use(ofExpress())
  app.get('/', (request, response) => void response.json({ peer: request.call?.peer?.service ?? null }))
  await joined('twice', app)
  const own = app.listen(0, '127.0.0.1')
  onTestFinished(() => void own.close())
  await once(own, 'listening')
  const { port } = own.address() as { port: number }
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).json()).toEqual({ peer: null })
  expect(await (await checkout.fetch('http://twice/')).json()).toEqual({ peer: 'checkout' })
})
