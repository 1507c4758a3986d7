/** Lines of the access log of requests that end in unusual ways, and of loggers that call. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { Metadata } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isMeshError } from '../../src/index.ts'
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

describe.each(['auto', 'http1'] as const)('over transport %s', (transport) => {
  const client1 = () => ({ ...everything(client), transport })
  const server1 = () => ({ ...everything(server), transport })

  it('an answer that breaks off has its status, and the code as its error', async () => {
    await testMesh.serve(
      'inventory',
      (_req, res) => {
        res.write('part')
        setTimeout(() => res.destroy(), 20)
      },
      { member: server1() },
    )
    const checkout = await testMesh.join('checkout', client1())
    const answer = await checkout.http('inventory').post('/', 'x')
    await expect(answer.text()).rejects.toSatisfy(isMeshError)
    expect(await client.of('client', 1)).toMatchObject([
      { 'http.response.status_code': 200, 'error.type': 'connection-lost', 'inmesh.flag': 'UC' },
    ])
    expect(await server.of('server', 1)).toMatchObject([{ 'http.response.status_code': 200, 'inmesh.bytes_sent': 4 }])
  })

  it('an answer whose caller leaves has its status', async () => {
    await testMesh.serve('inventory', (_req, res) => void res.write('part'), { member: server1() })
    const checkout = await testMesh.join('checkout', client1())
    const leaving = new AbortController()
    const answer = await checkout.http('inventory').get('/', { signal: leaving.signal })
    const read = answer.text()
    setTimeout(() => leaving.abort(), 20)
    await expect(read).rejects.toThrow()
    const ended = { 'http.response.status_code': 200, 'error.type': 'cancelled', 'inmesh.flag': 'DC', level: 30 }
    expect(await client.of('client', 1)).toMatchObject([ended])
    expect(await server.of('server', 1)).toMatchObject([ended])
  })

  it('the body of a refusal is counted', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end(), { member: server1() })
    await testMesh.apply([{ service: 'inventory', allow: [{ from: 'audit' }] }])
    const checkout = await testMesh.join('checkout', client1())
    const body = await (await checkout.http('inventory').get('/')).text()
    expect(await client.of('client', 1)).toMatchObject([{ 'inmesh.bytes_received': body.length }])
    expect(await server.of('server', 1)).toMatchObject([{ 'inmesh.bytes_sent': body.length, 'inmesh.flag': 'UAEX' }])
  })

  it('a header that is named like a member of objects is no header', async () => {
    const headers = ['constructor', '__proto__', 'toString', 'x-id']
    await testMesh.serve('inventory', (_req, res) => res.end('ok'), {
      member: { ...everything(server, { headers }), transport },
    })
    const checkout = await testMesh.join('checkout', { ...everything(client, { headers }), transport })
    const answer = await checkout.http('inventory').get('/', { headers: { 'x-id': '7' } })
    expect(await answer.text()).toBe('ok')
    for (const [line] of [await client.of('client', 1), await server.of('server', 1)]) {
      const shown = Object.entries(line!).filter(([name]) => name.startsWith('http.request.header.'))
      expect(shown).toEqual([['http.request.header.x-id', ['7']]])
    }
  })
})

describe('a server of HTTP/1.1', () => {
  /** `cut`: the client leaves once the handler has a part of the body. */
  const send = async (request: string, cut = false): Promise<void> => {
    const foreign = await testMesh.join('foreign', everything(server))
    const begun = Promise.withResolvers<void>()
    const serving = await foreign.serve(
      async (req, res) => {
        for await (const _ of req) begun.resolve()
        res.end()
      },
      { mode: 'plaintext', port: 0 },
    )
    const socket = connect(serving.port, '127.0.0.1')
    socket.write(request)
    await (cut ? begun.promise : once(socket, 'data'))
    socket.destroy()
  }

  it('counts the body of a request in chunks, without their frame', async () => {
    await send(
      'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\na: b\r\n\r\n',
    )
    expect(await server.of('server', 1)).toMatchObject([{ 'inmesh.bytes_received': 5, 'inmesh.bytes_sent': 0 }])
  })

  it('counts what has come of a body that breaks off', async () => {
    await send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\nabc', true)
    expect(await server.of('server', 1)).toMatchObject([{ 'inmesh.bytes_received': 3, 'inmesh.flag': 'DC' }])
  })
})

describe('a WebSocket', () => {
  const refused = async (answer: (socket: import('node:stream').Duplex) => void): Promise<void> => {
    await testMesh.serve('chat', (_req, res) => res.end(), {
      member: everything(server),
      server: { onUpgrade: (_request, socket) => answer(socket) },
    })
    const checkout = await testMesh.join('checkout', everything(client))
    await new Seen(checkout.webSocket('chat', '/')).heard('close')
  }

  it.each(['write', 'end'] as const)('that the application refuses by %s has the status of its answer', async (by) => {
    await refused((socket) => {
      socket[by]('HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno')
      if (by === 'write') socket.end()
    })
    const line = { 'http.response.status_code': 401, 'inmesh.logged': 'sample' }
    expect(await client.of('client', 1)).toMatchObject([line])
    expect(await server.of('server', 1)).toMatchObject([{ ...line, 'inmesh.bytes_sent': 2 }])
  })

  it('whose listener throws has 500', async () => {
    await refused(() => {
      throw new Error('as it is')
    })
    expect(await server.of('server', 1)).toMatchObject([
      { 'http.response.status_code': 500, 'error.type': '500', 'inmesh.flag': 'SE' },
    ])
  })
})

it('binary metadata of gRPC is shown as it is sent, on both sides', async () => {
  const headers = ['x-id-bin']
  const inventory = await testMesh.join('inventory', everything(server, { headers }))
  await inventory.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }))
  const checkout = await testMesh.join('checkout', everything(client, { headers }))
  const metadata = new Metadata()
  metadata.set('x-id-bin', Buffer.from([0, 1, 255]))
  await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' }, { metadata })
  const shown = { 'rpc.request.metadata.x-id-bin': [expect.stringMatching(/^AAH\/=*$/)] }
  expect(await client.of('client', 1)).toMatchObject([shown])
  expect(await server.of('server', 1)).toMatchObject([shown])
})

it('a TCP connection says on both sides what carried it', async () => {
  const redis = await testMesh.join('redis', everything(server))
  await redis.listen('redis', echo)
  const checkout = await testMesh.join('checkout', everything(client))
  const socket = checkout.connect('redis')
  socket.write('PING')
  await once(socket, 'data')
  socket.end()
  await once(socket.resume(), 'close')
  const protocol = { 'network.protocol.name': 'inmesh-tcp', 'network.protocol.version': '1' }
  expect(await client.of('client', 1)).toMatchObject([protocol])
  expect(await server.of('server', 1)).toMatchObject([protocol])
})

it('the calls of a logger, and their copies, have no line', async () => {
  await testMesh.apply([
    { service: 'collector', routes: [{ name: 'copied', mirror: { to: { service: 'shadow' }, share: 1 } }] },
  ])
  let copies = 0
  let collected = 0
  await testMesh.serve('inventory', (_req, res) => res.end('x'))
  await testMesh.serve('shadow', (_req, res) => {
    copies += 1
    res.end()
  })
  await testMesh.serve('collector', (_req, res) => {
    collected += 1
    res.end()
  })
  const paths: string[] = []
  const checkout = await testMesh.join('checkout', {
    accessLog: {
      sample: 1,
      log: async (line: string) => {
        paths.push((JSON.parse(line) as { 'url.path': string })['url.path'])
        const answer = await checkout.http('collector').post('/lines', line)
        await answer.text()
      },
    },
  })
  for (const path of ['/1', '/2']) await (await checkout.http('inventory').get(path)).text()
  await until(() => copies >= 2)
  await (await checkout.http('inventory').get('/3')).text()
  await until(() => collected === 3)
  await checkout.close()
  expect(paths).toEqual(['/1', '/2', '/3'])
  expect(collected).toBe(3)
})
