/** What a peer without an identity gets from a strict port: an answer in its own protocol. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { request as requestSecure } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { PREFACE } from '../../src/mux/wire.ts'
import { compileIntentions } from '../../src/server/authorization/intentions.ts'
import { type HttpServer, serveHttp } from '../../src/server/http/server.ts'
import { serveTcp } from '../../src/server/tcp/server.ts'
import { craftLeaf, newAuthority, newIdentity } from '../rigs/certificates.ts'
import { begin, Shop } from '../rigs/shop.ts'
import { meshClient, serveShop } from './grpc/rig.ts'
import { ask, authority, clientOf, FakeIdentitySource, RecordedEvents, serverStack } from './rig.ts'

let server: HttpServer
let port: number
/** It waits for a head for a moment only. */
let impatient: HttpServer
let executed = 0
const events = new RecordedEvents()
const identity = new FakeIdentitySource(newIdentity(authority, 'inventory'))
const dependencies = {
  ...{ service: 'inventory', identity, events, stack: serverStack() },
  authorizer: compileIntentions([], 'allow'),
}
const ANY = { rejectUnauthorized: false } as const
const FOREIGN = craftLeaf(newAuthority())

beforeAll(async () => {
  const handler = (_request: IncomingMessage, response: { end(text: string): void }): void => {
    executed += 1
    response.end('stock')
  }
  server = await serveHttp(handler, { mode: 'strict' }, dependencies)
  port = server.port
  impatient = await serveHttp(handler, { mode: 'strict', headersTimeout: '400ms' }, dependencies)
  return () => Promise.all([server.close(), impatient.close()])
})

/** What peers were reported for while `work` ran. */
async function reported(work: () => Promise<unknown>): Promise<unknown[]> {
  const before = events.of('peer:refused').length
  await work()
  return events
    .of('peer:refused')
    .slice(before)
    .map(({ reason }) => reason)
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

function send(secure: boolean, options: object, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = (secure ? requestSecure : request)({ host: '127.0.0.1', port, agent: false, ...ANY, ...options })
    asked.on('error', reject)
    asked.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }))
    })
    asked.end(body)
  })
}

/** All that arrives on `socket` until the server ends the connection. */
function received(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (part) => {
    text += part.toString('latin1')
  })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  return new Promise((resolve) => socket.once('close', () => resolve(text)))
}

async function askHttp2(session: ClientHttp2Session, method = 'GET'): Promise<IncomingHttpHeaders & { text: string }> {
  onTestFinished(() => session.destroy())
  session.on('error', () => {})
  const stream = session.request({ ':method': method, ':path': '/' })
  let text = ''
  stream.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  await once(stream, 'end')
  return { ...headers, text }
}

describe('a plaintext client', () => {
  it.each(['GET', 'POST', 'OPTIONS'])('of HTTP/1.1 that sends %s reads in a 400 what the port is', async (method) => {
    const told = await reported(async () => {
      const { status, headers, text } = await send(false, { method })
      expect(status).toBe(400)
      expect(headers).toMatchObject({
        'content-type': 'text/plain; charset=utf-8',
        'inmesh-not-executed': 'identity-rejected; reason=plaintext',
      })
      expect(text).toMatch(/^This port of the service 'inventory' requires mutual TLS .* plaintext.*'permissive'.*\n$/)
    })
    expect(told).toEqual(['plaintext'])
  })

  it('that sends HEAD gets the head alone', async () => {
    expect(await send(false, { method: 'HEAD' })).toMatchObject({ status: 400, text: '' })
  })

  it('reads its answer, however much it sends meanwhile', async () => {
    const { status } = await send(false, { method: 'POST' }, Buffer.alloc(60_000, 'x'))
    expect(status).toBe(400)
  })

  it('whose request arrives byte by byte is answered as soon as its method is known', async () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const answer = received(socket)
    for (const byte of 'GET / HTTP/1.1\r\n') {
      if (socket.writable) socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await answer).toMatch(/^HTTP\/1\.1 400 .*This port of the service/s)
  })

  it('that stops within its method is closed within a bound', async () => {
    const socket = connect({ port: impatient.port, host: '127.0.0.1' })
    socket.write('GE')
    expect(await received(socket)).not.toContain('This port')
  })

  it('of HTTP/2 gets a 400 for its request, and a GOAWAY with the same text', async () => {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    const goaway = once(session, 'goaway')
    const told = await reported(async () => {
      const answer = await askHttp2(session)
      expect(answer).toMatchObject({ ':status': 400, text: expect.stringMatching(/^This port .*plaintext/) })
    })
    const [, , data] = (await goaway) as [number, number, Buffer]
    expect(String(data)).toMatch(/^identity-rejected; reason=plaintext; This port of the service 'inventory'/)
    expect(told).toEqual(['plaintext'])
  })

  it('of inmesh/1 gets a GOAWAY', async () => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.write(PREFACE)
    expect(await received(socket)).toMatch(/identity-rejected; reason=plaintext$/)
  })

  it('of another protocol is closed without a byte, and reported', async () => {
    const told = await reported(async () => {
      const socket = connect({ port, host: '127.0.0.1' })
      socket.write('SSH-2.0-OpenSSH_9.9\r\n')
      expect(await received(socket)).toBe('')
    })
    expect(told).toEqual(['plaintext'])
  })
})

describe('a TLS client without a certificate', () => {
  it('of HTTP/1.1 reads in a 403 what is missing', async () => {
    const told = await reported(async () => {
      const { status, text } = await send(true, {})
      expect(status).toBe(403)
      expect(text).toMatch(/^This port of the service 'inventory' requires mutual TLS .* shows none\..*joined its mesh/)
    })
    expect(told).toEqual(['no-certificate'])
  })

  it('of HTTP/2 does, too', async () => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, ANY)
    expect(await askHttp2(session)).toMatchObject({ ':status': 403, text: expect.stringContaining('shows none') })
  })

  it('that has one of another authority reads the reason', async () => {
    const { status, text } = await send(true, FOREIGN)
    expect(status).toBe(403)
    expect(text).toContain('refuses the certificate of this connection (untrusted-issuer)')
  })
})

it('no stranger has reached the handler; a process of the mesh does', async () => {
  expect(executed).toBe(0)
  expect(await ask(port, { as: clientOf('checkout') })).toMatchObject({ status: 200, body: 'stock' })
})

it('a probe that opens a connection and says nothing is no refused peer', async () => {
  const to = { port: impatient.port, host: '127.0.0.1' }
  const { refused } = impatient.stats
  const told = await reported(async () => {
    const brief = connect(to)
    await once(brief, 'connect')
    brief.end()
    expect(await received(brief)).toBe('')
    const reset = connect(to)
    await once(reset, 'connect')
    reset.resetAndDestroy()
    expect(await received(connect(to))).toBe('')
    await expect.poll(() => impatient.stats.connections).toBe(0)
  })
  expect(told).toEqual([])
  expect(impatient.stats.refused).toBe(refused)
})

it('a flood of strangers that never leave holds few connections, and the mesh is served meanwhile', async () => {
  const { accepted } = server.stats
  const sockets = Array.from({ length: 600 }, () => connect({ port, host: '127.0.0.1', allowHalfOpen: true }))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (const socket of sockets)
    socket
      .on('error', () => {})
      .resume()
      .write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await expect.poll(() => server.stats.accepted - accepted).toBe(600)
  expect(await ask(port, { as: clientOf('checkout') })).toMatchObject({ status: 200 })
  expect(server.stats.connections).toBeLessThanOrEqual(300)
  await expect.poll(() => server.stats.connections).toBe(0)
})

describe('a gRPC port', () => {
  const stranger = (at: number, credentials: grpc.ChannelCredentials) => {
    const client = new Shop(`127.0.0.1:${at}`, credentials, { 'grpc.use_local_subchannel_pool': 1 })
    onTestFinished(() => client.close())
    return client
  }

  it('answers calls of strangers with UNAUTHENTICATED and the text', async () => {
    let ran = 0
    const { server: strict, events: told } = await serveShop(
      { Get: (_call, answer) => answer(null, { sku: String(++ran) }) },
      { mode: 'strict' },
    )
    const plain = stranger(strict.port, grpc.credentials.createInsecure())
    const secure = stranger(
      strict.port,
      grpc.credentials.createSsl(Buffer.from(authority.certificate), null, null, {
        checkServerIdentity: () => undefined,
      }),
    )
    for (const [client, what] of [
      [plain, 'plaintext'],
      [secure, 'shows none'],
    ] as const) {
      for (const kind of ['get', 'watch', 'chat'] as const) {
        const { code, details } = await begin(client, kind).ended
        expect(code).toBe(grpc.status.UNAUTHENTICATED)
        expect(details).toMatch(new RegExp(`^This port of the service 'inventory' requires mutual TLS .*${what}`))
      }
    }
    expect(ran).toBe(0)
    const reasons = told.of('peer:refused').map(({ reason }) => reason)
    expect(new Set(reasons)).toEqual(new Set(['plaintext', 'no-certificate']))
    expect(await begin(meshClient(strict.port), 'get').ended).toMatchObject({ code: grpc.status.OK })
  })

  it('answers HTTP/1.1 with a text, whether it is strict or not', async () => {
    for (const [mode, text] of [
      ['strict', /requires mutual TLS/],
      ['permissive', /speaks (?:inmesh\/1 or )?h2 only/],
      ['plaintext', /speaks (?:inmesh\/1 or )?h2 only/],
    ] as const) {
      const { server: grpcServer } = await serveShop({}, { mode })
      const answer = await send(false, { port: grpcServer.port })
      expect(answer.status).toBe(400)
      expect(answer.text).toMatch(text)
    }
  })
})

it('a TCP port closes the connection of a stranger without a byte, and reports why', async () => {
  let served = 0
  const recorded = new RecordedEvents()
  const tcp = await serveTcp(
    (socket) => {
      served += 1
      socket.destroy()
    },
    {},
    { ...dependencies, events: recorded },
  )
  onTestFinished(async () => void (await tcp.close()))
  const plain = connect({ port: tcp.port, host: '127.0.0.1' })
  plain.write('*1\r\n$4\r\nPING\r\n')
  expect(await received(plain)).toBe('')
  expect(await received(connectSecure({ port: tcp.port, host: '127.0.0.1', ...ANY }))).toBe('')
  expect(recorded.of('peer:refused').map(({ reason }) => reason)).toEqual(['plaintext', 'no-certificate'])
  expect(served).toBe(0)
})
