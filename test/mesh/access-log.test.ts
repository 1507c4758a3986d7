/** The access log of members of a mesh: real servers and calls, a real logger. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { isMeshError, type Mesh } from '../../src/index.ts'
import { reset } from '../../src/server/tcp/forward.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { until } from '../client/http/rig.ts'
import { Seen } from '../client/websocket/rig.ts'
import { Shop, shopServer } from '../rigs/shop.ts'
import { echo } from '../rigs/tcp-target.ts'
import { everything, LogLines } from '../telemetry/access-log/log-lines.ts'

let testMesh: TestMesh
let client: LogLines
let server: LogLines

beforeEach(async () => {
  testMesh = await startTestMesh()
  client = new LogLines()
  server = new LogLines()
})
afterEach(() => testMesh.close())

describe('a call over HTTP', () => {
  it('has one line in its process and one in the server, by the conventions, without its query', async () => {
    await testMesh.serve(
      'inventory',
      async (req, res) => {
        await text(req)
        res.writeHead(201).end('seven')
      },
      { member: everything(server) },
    )
    const checkout = await testMesh.join('checkout', everything(client))
    const answer = await checkout.http('inventory').post('/items/42', 'four', { query: { token: 'x' } })
    expect(await answer.text()).toBe('seven')
    const [called, ...more] = await client.of('client', 1)
    const [served, ...others] = await server.of('server', 1)
    expect([...more, ...others]).toEqual([])
    expect(called).toMatchObject({
      level: 30,
      msg: 'access',
      'inmesh.side': 'client',
      'service.name': 'checkout',
      'inmesh.protocol': 'http',
      'http.request.method': 'POST',
      'url.path': '/items/42',
      'http.response.status_code': 201,
      'service.peer.name': 'inventory',
      'server.address': '127.0.0.1',
      'server.port': expect.any(Number),
      'network.protocol.name': 'inmesh',
      'network.protocol.version': '1',
      'inmesh.attempts': 1,
      'inmesh.bytes_sent': 4,
      'inmesh.bytes_received': 5,
      'inmesh.duration_ms': expect.any(Number),
      'inmesh.queue_ms': expect.any(Number),
      'inmesh.connect_ms': expect.any(Number),
      'inmesh.logged': 'sample',
    })
    expect(called!['inmesh.connect_ms']).toBeGreaterThan(0)
    expect(served).toMatchObject({
      'inmesh.side': 'server',
      'service.name': 'inventory',
      'service.peer.name': 'checkout',
      'network.peer.address': '127.0.0.1',
      'url.path': '/items/42',
      'http.response.status_code': 201,
      'inmesh.bytes_sent': 5,
      'inmesh.bytes_received': 4,
    })
    for (const line of [called!, served!]) {
      expect(line).not.toHaveProperty(['inmesh.flag'])
      expect(JSON.stringify(line)).not.toContain('token')
    }
  })

  it('counts what streams over HTTP/1.1, and no body where there is none', async () => {
    await testMesh.serve(
      'inventory',
      async (req, res) => {
        await text(req)
        res.write('ab')
        res.write(Buffer.from('cd'))
        res.end('€')
      },
      { member: { ...everything(server), transport: 'http1' } },
    )
    const checkout = await testMesh.join('checkout', { ...everything(client), transport: 'http1' })
    const http = checkout.http('inventory')
    await (await http.post('/streamed', ReadableStream.from(['x', 'yz'].map((part) => Buffer.from(part))))).text()
    await (await http.head('/head')).text()
    const version = { 'network.protocol.name': 'http', 'network.protocol.version': '1.1' }
    expect(await client.of('client', 2)).toMatchObject([
      { ...version, 'url.path': '/streamed', 'inmesh.bytes_sent': 3, 'inmesh.bytes_received': 7 },
      { ...version, 'url.path': '/head', 'inmesh.bytes_sent': 0, 'inmesh.bytes_received': 0 },
    ])
    const [streamed, head] = await server.of('server', 2)
    expect(streamed).toMatchObject({ ...version, 'inmesh.bytes_sent': 7, 'inmesh.bytes_received': 3 })
    expect(head).toMatchObject({ 'inmesh.bytes_sent': 0, 'inmesh.bytes_received': 0 })
  })

  it('has one line, also if it was tried several times, with the flag of what failed it', async () => {
    const inventory = await testMesh.serve('inventory', (_req, res) => res.end(), {
      member: { accessLog: { log: server.logger, sample: 0 } },
    })
    const checkout = await testMesh.join('checkout', { accessLog: { log: client.logger, sample: 0 } })
    const http = checkout.http('inventory')
    inventory.faults.set({ status: 503, times: 2 })
    await (await http.get('/a')).text()
    inventory.faults.set({ status: 500 })
    await http.post('/b', 'x')
    const [failed, ...more] = await client.of('client', 1)
    expect(more).toEqual([])
    expect(failed).toMatchObject({
      level: 40,
      'url.path': '/b',
      'http.response.status_code': 500,
      'error.type': '500',
      'inmesh.code': 'server-error',
      'inmesh.flag': 'SE',
      'inmesh.logged': 'failure',
    })
    await until(() => server.side('server').length >= 3)
    expect(server.side('server').map((line) => line['url.path'])).toEqual(['/a', '/a', '/b'])

    client.raw.length = 0
    const ours = await testMesh.join('checkout', everything(client))
    inventory.faults.set({ status: 503, times: 1 })
    await (await ours.http('inventory').get('/c')).text()
    const [retried] = await client.of('client', 1)
    expect(retried).toMatchObject({ 'inmesh.attempts': 2, 'http.response.status_code': 200, 'inmesh.logged': 'sample' })
  })

  it('has a line if no endpoint was found, if it was denied, and if its caller gave up', async () => {
    const checkout = await testMesh.join('checkout', { accessLog: { log: client.logger, sample: 0 } })
    await expect(checkout.http('nobody').get('/', { timeout: 50 })).rejects.toSatisfy(isMeshError)
    await testMesh.serve('inventory', (_req, res) => res.end(), { member: everything(server) })
    await testMesh.serve('slow', () => {}, { member: everything(server) })
    await testMesh.apply([{ service: 'inventory', allow: [{ from: 'audit' }] }])
    await (await checkout.http('inventory').get('/')).text()
    const gaveUp = new AbortController()
    const pending = checkout.http('slow').get('/', { signal: gaveUp.signal })
    setTimeout(() => gaveUp.abort(), 20)
    await expect(pending).rejects.toThrow()
    const lines = await client.of('client', 2)
    expect(lines.map((line) => [line['service.peer.name'], line['inmesh.flag'], line.level])).toEqual([
      ['nobody', 'DT', 40],
      ['slow', 'DC', 30],
    ])
    expect(lines[0]).not.toHaveProperty(['server.address'])
    const denied = (await server.of('server', 1))[0]!
    expect(denied).toMatchObject({ 'inmesh.flag': 'UAEX', 'http.response.status_code': 403 })
  })

  it('has one line if it is hedged', async () => {
    await testMesh.apply([{ service: 'inventory', hedge: { after: '100ms', maxExtraLoad: '100%' } }])
    let slow = false
    const serve = (): Promise<unknown> =>
      testMesh.serve('inventory', (_req, res) => {
        const wait = slow ? 2_000 : 0
        slow = false
        setTimeout(() => res.end('x'), wait)
      })
    await serve()
    await serve()
    const checkout = await testMesh.join('checkout', everything(client))
    const http = checkout.http('inventory')
    for (let i = 0; i < 20; i++) await (await http.get('/')).text()
    slow = true
    await (await http.get('/hedged')).text()
    const lines = await client.of('client', 21)
    expect(lines).toHaveLength(21)
    expect(lines[20]).toMatchObject({ 'url.path': '/hedged', 'inmesh.attempts': 2, 'inmesh.hedged': true })
  })

  it('is marked, with its copy, where a route mirrors it', async () => {
    await testMesh.apply([
      { service: 'inventory', routes: [{ name: 'copied', mirror: { to: { service: 'shadow' }, share: 1 } }] },
    ])
    await testMesh.serve('inventory', (_req, res) => res.end('x'))
    await testMesh.serve('shadow', (_req, res) => res.end('copy'), { member: everything(server) })
    const checkout = await testMesh.join('checkout', everything(client))
    await (await checkout.http('inventory').get('/items/1?q=2')).text()
    const lines = await client.of('client', 2)
    const [copy] = lines.filter((line) => line['inmesh.mirror'] === true)
    const [call] = lines.filter((line) => line['inmesh.mirror'] === undefined)
    expect(call).toMatchObject({ 'service.peer.name': 'inventory', 'inmesh.route': 'copied' })
    expect(copy).toMatchObject({ 'service.peer.name': 'shadow', 'url.path': '/items/1', 'inmesh.attempts': 1 })
    expect(await server.of('server', 1)).toMatchObject([{ 'inmesh.mirror': true, 'service.name': 'shadow' }])
  })

  it('is slow by the threshold of its service, and then has a line whatever the share', async () => {
    await testMesh.serve('inventory', (req, res) => setTimeout(() => res.end(), req.url === '/slow' ? 60 : 0))
    const checkout = await testMesh.join('checkout', {
      accessLog: { log: client.logger, sample: 0, slowerThan: '50ms', sides: ['client'] },
    })
    await (await checkout.http('inventory').get('/slow')).text()
    const lines = await client.of('client', 1)
    expect(lines.filter((line) => line['url.path'] === '/slow')).toMatchObject([{ 'inmesh.logged': 'slow', level: 30 }])
  })
})

describe('a call over gRPC', () => {
  it('has one line on each side, with its method and status', async () => {
    const inventory = await testMesh.join('inventory', everything(server))
    await inventory.serveGrpc(
      shopServer({
        Get: (call, answer) =>
          call.request.sku === 'a'
            ? answer(null, { sku: 'abc' })
            : answer({ code: grpc.status.INTERNAL, details: 'broken' } as grpc.ServiceError),
      }),
    )
    const checkout = await testMesh.join('checkout', everything(client))
    const shop = checkout.grpc(Shop, 'inventory')
    await shop.promises.get({ sku: 'a' })
    await expect(shop.promises.get({ sku: 'b' })).rejects.toThrow('broken')
    const [good, bad] = await client.of('client', 2)
    expect(good).toMatchObject({
      'rpc.system.name': 'grpc',
      'rpc.method': 'shop.Inventory/Get',
      'rpc.status_code': 'OK',
      'inmesh.bytes_sent': 3,
      'inmesh.bytes_received': 5,
      'service.peer.name': 'inventory',
    })
    expect(bad).toMatchObject({ 'rpc.status_code': 'INTERNAL', 'inmesh.flag': 'SE', level: 40 })
    expect(await server.of('server', 2)).toMatchObject([
      { 'rpc.status_code': 'OK', 'inmesh.bytes_sent': 5, 'inmesh.bytes_received': 3, 'service.peer.name': 'checkout' },
      { 'rpc.status_code': 'INTERNAL' },
    ])
  })
})

describe('a TCP connection', () => {
  it('has one line on each side when it has closed, with its bytes', async () => {
    const redis = await testMesh.join('redis', everything(server))
    await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout', everything(client))
    const socket = checkout.connect('redis')
    socket.write('PING')
    await once(socket, 'data')
    expect([client.all, server.all]).toEqual([[], []])
    socket.end()
    await once(socket.resume(), 'close')
    const bytes = { 'inmesh.protocol': 'tcp', 'inmesh.bytes_sent': 4, 'inmesh.bytes_received': 4 }
    expect(await client.of('client', 1)).toMatchObject([{ ...bytes, 'service.peer.name': 'redis' }])
    expect(await server.of('server', 1)).toMatchObject([{ ...bytes, 'service.peer.name': 'checkout' }])
  })

  it('has one line, with the flag, if it is lost', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', (socket) => {
      socket.write('x')
      setTimeout(() => reset(socket), 20)
    })
    const checkout = await testMesh.join('checkout', { accessLog: { log: client.logger, sample: 0 } })
    const socket = checkout.connect('redis')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {}).resume()
    await closed
    expect(await client.of('client', 1)).toMatchObject([{ 'inmesh.flag': 'UC', 'inmesh.bytes_received': 1, level: 40 }])
  })
})

describe('a WebSocket', () => {
  it('has one line on each side when it has closed', async () => {
    const sockets = new WebSocketServer({ noServer: true })
    await testMesh.serve('chat', (_req, res) => res.end(), {
      member: everything(server),
      server: {
        onUpgrade: (request, socket, head) =>
          sockets.handleUpgrade(request, socket, head, (one) => one.send('welcome')),
      },
    })
    const checkout = await testMesh.join('checkout', everything(client))
    const seen = await new Seen(checkout.webSocket('chat', '/room?key=1')).heard('message')
    expect(client.all).toEqual([])
    seen.socket.close()
    await seen.heard('close')
    const shown = { 'http.response.status_code': 101, 'url.path': '/room', 'inmesh.bytes_sent': expect.any(Number) }
    expect(await client.of('client', 1)).toMatchObject([{ ...shown, 'service.peer.name': 'chat' }])
    const [served] = await server.of('server', 1)
    expect(served).toMatchObject({ ...shown, 'service.peer.name': 'checkout' })
    expect(served!['inmesh.bytes_sent']).toBeGreaterThanOrEqual('welcome'.length)
    sockets.close()
  })
})

describe('documents', () => {
  let checkout: Mesh
  const lines = async (service: string, path: string): Promise<boolean> => {
    await (await checkout.http(service).get(path)).text()
    await checkout.http(service).get('/missing')
    await new Promise((resolve) => setTimeout(resolve, 20))
    return client.side('client').some((line) => line['url.path'] === path)
  }

  beforeEach(async () => {
    await testMesh.serve('inventory', (_req, res) => res.end())
    await testMesh.serve('prices', (_req, res) => res.end())
    checkout = await testMesh.join('checkout', { accessLog: { log: client.logger, enabled: false } })
  })

  it('turn it on and off while calls run, for all services and for one', async () => {
    expect(await lines('inventory', '/0')).toBe(false)
    await testMesh.apply([{ service: 'mesh', accessLog: { sample: 1 } }])
    await until(() => lines('inventory', '/1'))
    expect(await lines('prices', '/2')).toBe(true)
    await testMesh.apply([{ service: 'prices', accessLog: false }])
    let round = 0
    await until(async () => !(await lines('prices', `/off/${round++}`)))
    expect(await lines('inventory', '/3')).toBe(true)
  })

  it('say which side, key by key over what the process says', async () => {
    const both = new LogLines()
    const inventory = await testMesh.serve('stock', (_req, res) => res.end(), {
      member: everything(both, { sides: ['client'] }),
    })
    await testMesh.apply([{ service: 'stock', accessLog: { sides: ['server'], headers: ['X-Request-Id'] } }])
    await (await checkout.http('stock').get('/', { headers: { 'x-request-id': 'r-7' } })).text()
    expect(await both.of('server', 1)).toMatchObject([{ 'http.request.header.x-request-id': ['r-7'] }])
    expect(client.side('client').filter((line) => line['service.peer.name'] === 'stock')).toEqual([])
    await inventory.close()
  })

  it('warn once in a process that has no logger', async () => {
    const warnings: { readonly code?: string; readonly message: string }[] = []
    const listen = (warning: Error & { code?: string }): void => void warnings.push(warning)
    process.on('warning', listen)
    try {
      const unlogged = await testMesh.serve('unlogged', (_req, res) => res.end())
      for (const sample of [0.1, 0.2]) await testMesh.apply([{ service: 'unlogged', accessLog: { sample } }])
      const ours = () => warnings.filter(({ message }) => message.includes("'unlogged'"))
      await until(() => ours().length > 0)
      await unlogged.close()
      expect(ours()).toMatchObject([{ code: 'INMESH_ACCESS_LOG' }])
    } finally {
      process.off('warning', listen)
    }
  })

  it('are refused with a mistake in the access log', async () => {
    await expect(testMesh.apply([{ service: 'mesh', accessLog: { sample: 2, side: 'client' } }])).rejects.toThrow()
  })
})

describe('a line', () => {
  it('hides what is secret by name or form, escapes controls, and is bounded', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end(), { member: everything(server) })
    const headers = ['authorization', 'x-api-key', 'x-note', 'x-long', 'x-absent']
    const checkout = await testMesh.join('checkout', everything(client, { headers }))
    await testMesh.apply([{ service: 'inventory', accessLog: { headers } }])
    await (
      await checkout.http('inventory').get(`/items/${'x'.repeat(8_000)}`, {
        headers: {
          authorization: 'Bearer abc',
          'x-api-key': 'k-12345',
          'x-note': 'a\u009b31m',
          'x-long': 'y'.repeat(4_000),
        },
      })
    ).text()
    for (const lines of [await client.of('client', 1), await server.of('server', 1)]) {
      const [line] = lines
      expect(line).toMatchObject({
        'http.request.header.authorization': ['[redacted]'],
        'http.request.header.x-api-key': ['[redacted]'],
        'http.request.header.x-note': ['a\\u{9b}31m'],
      })
      expect(line).not.toHaveProperty(['http.request.header.x-absent'])
    }
    for (const raw of [...client.raw, ...server.raw]) {
      expect(raw.length).toBeLessThan(4_096)
      expect(raw.trimEnd()).not.toMatch(/[\n\u009b]|k-12345|Bearer/)
    }
  })

  it('is a text of JSON for a function', async () => {
    const lines: string[] = []
    await testMesh.serve('inventory', (_req, res) => res.end())
    const checkout = await testMesh.join('checkout', {
      accessLog: { log: (line: string) => void lines.push(line), sample: 1 },
    })
    await (await checkout.http('inventory').get('/items')).text()
    await until(() => lines.length === 1)
    expect(lines[0]).not.toContain('\n')
    expect(JSON.parse(lines[0]!)).toMatchObject({
      time: expect.any(Number),
      level: 'info',
      msg: 'access',
      'url.path': '/items',
    })
  })

  it('is written in no context of a call, and before the mesh has closed', async () => {
    const request = new AsyncLocalStorage<string>()
    const stores: (string | undefined)[] = []
    await testMesh.serve('inventory', (_req, res) => res.end())
    const checkout = await testMesh.join('checkout', {
      accessLog: { log: () => void stores.push(request.getStore()), sample: 1 },
    })
    await request.run('mine', async () => (await checkout.http('inventory').get('/')).text())
    await checkout.close()
    expect(stores).toEqual([undefined])
  })
})

describe('a logger that', () => {
  it('throws or rejects harms no call, and is counted', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end('7'))
    let round = 0
    const checkout = await testMesh.join('checkout', {
      accessLog: {
        log: () => {
          round += 1
          if (round % 2 === 0) throw new Error('disk full')
          return Promise.reject(new Error('disk full'))
        },
        sample: 1,
      },
    })
    for (let i = 0; i < 4; i++) expect(await (await checkout.http('inventory').get('/')).text()).toBe('7')
    await until(() =>
      /inmesh_access_log_dropped_total\{service="checkout",reason="logger-failed"\} 4/.test(checkout.metrics()),
    )
  })
})
