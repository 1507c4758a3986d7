import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { connect as tlsConnect } from 'node:tls'
import { expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { HTTP1, MUX, type TransportName, type TransportPreference } from '../../src/core/transport.ts'
import { Acceptor, type AcceptorOwner } from '../../src/server/acceptor.ts'
import { resolveGrpcServer } from '../../src/server/grpc/options.ts'
import { resolveHttpServer } from '../../src/server/http/options.ts'
import { HttpProtocol } from '../../src/server/http/protocol.ts'
import { Http2Protocol } from '../../src/server/http2/protocol.ts'
import { refuseConnection } from '../../src/server/http2/refusal.ts'
import type { ServerMode } from '../../src/server/mode.ts'
import { newIdentity } from '../rigs/certificates.ts'
import { ask, authority, clientOf, FakeIdentitySource, RecordedEvents, TRUSTING } from './rig.ts'

/** One port that serves HTTP/1.1 and HTTP/2. */
async function listen(mode: ServerMode): Promise<{ acceptor: Acceptor; port: number; events: RecordedEvents }> {
  const events = new RecordedEvents()
  const host: AcceptorOwner = {
    service: 'inventory',
    clock: systemClock,
    events,
    transport: 'auto',
    denyCalls: () => {},
  }
  const http = new HttpProtocol(
    {
      ...host,
      serve: ({ connection: { caller } }, _request, response) => void response.end(`http/1.1 for ${caller?.service}`),
      upgrade: ({ socket }) => socket.destroy(),
      upgrades: () => false,
      connectionLost: () => {},
    },
    resolveHttpServer(),
  )
  const http2 = createHttp2Server((_request, response) => void response.end('h2'))
  const grpc = new Http2Protocol(
    { ...host, inject: (socket) => http2.emit('connection', socket), refusal: refuseConnection },
    resolveGrpcServer(),
    http2,
  )
  const identity = new FakeIdentitySource(newIdentity(authority, 'inventory'))
  const acceptor = new Acceptor(host, resolveHttpServer({ mode }), [http, grpc], identity, undefined)
  await acceptor.listen()
  onTestFinished(() => acceptor.close())
  return { acceptor, port: acceptor.address.port, events }
}

function connect(port: number, ALPNProtocols: string[] | undefined, service = 'checkout'): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      host: '127.0.0.1',
      port,
      ...TRUSTING,
      ...clientOf(service),
      ...(ALPNProtocols !== undefined && { ALPNProtocols }),
    })
    socket.on('error', reject)
    socket.on('secureConnect', () => resolve(socket))
  })
}

function askHttp2(socket: TLSSocket): Promise<string> {
  const session = connectHttp2('https://inventory', { createConnection: () => socket })
  onTestFinished(() => session.destroy())
  return new Promise((resolve, reject) => {
    session.on('error', reject)
    const stream = session.request({ ':path': '/' })
    let body = ''
    stream.setEncoding('utf8')
    stream.on('data', (part) => {
      body += part
    })
    stream.on('error', reject)
    stream.on('end', () => resolve(body))
  })
}

it('hands each connection to the protocol that its peer agreed to by ALPN', async () => {
  const { acceptor, port } = await listen('strict')
  const http2 = await connect(port, ['h2'])
  expect(http2.alpnProtocol).toBe('h2')
  expect(await askHttp2(http2)).toBe('h2')
  expect((await ask(port, { as: clientOf('checkout') })).body).toBe('http/1.1 for checkout')
  expect(acceptor.accepted).toBe(2)
})

it('speaks what the client names first, of what both know', async () => {
  const { port } = await listen('strict')
  for (const [offered, chosen] of [
    [['h2', 'http/1.1'], 'h2'],
    [['smtp', 'http/1.1', 'h2'], 'http/1.1'],
  ] as const) {
    const socket = await connect(port, [...offered])
    expect(socket.alpnProtocol).toBe(chosen)
    socket.destroy()
  }
})

it('takes a peer without ALPN for the protocol that does not need it, in TLS and in plaintext', async () => {
  const { acceptor, port } = await listen('permissive')
  const socket = await connect(port, undefined)
  const answer = new Promise<string>((resolve) => socket.once('data', (part) => resolve(String(part))))
  socket.write('GET / HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n')
  expect(await answer).toContain('http/1.1 for checkout')
  expect((await ask(port)).body).toBe('http/1.1 for undefined')
  expect(acceptor.plaintext).toBe(1)
})

it('refuses a peer that knows none of the protocols', async () => {
  const { acceptor, port, events } = await listen('strict')
  await expect(connect(port, ['smtp'])).rejects.toThrow()
  await expect.poll(() => acceptor.refused).toBe(1)
  expect(events.of('peer:refused')).toMatchObject([{ side: 'server', reason: 'handshake-failed' }])
})

it('asks the clients of both protocols to leave', async () => {
  const { acceptor, port } = await listen('strict')
  const socket = await connect(port, ['h2'])
  const session = connectHttp2('https://inventory', { createConnection: () => socket })
  onTestFinished(() => session.destroy())
  await new Promise<void>((resolve) => session.once('remoteSettings', () => resolve()))
  const goaway = new Promise<number>((resolve) => session.once('goaway', resolve))
  acceptor.retire()
  expect(await goaway).toBe(0)
  expect(await acceptor.close()).toBeUndefined()
  expect(acceptor.open).toBe(0)
})

it('offers inmesh/1 while it is preferred, and asks its clients to leave when it is not any more', async () => {
  const events = new RecordedEvents()
  const host = {
    service: 'inventory',
    clock: systemClock,
    events,
    transport: 'auto' as TransportPreference,
    denyCalls: () => {},
  }
  const answers = (alpn: TransportName): HttpProtocol => {
    const protocol = new HttpProtocol(
      {
        ...host,
        serve: ({ connection }, _request, response) => void response.end(`${alpn} ${connection.retireAt === 0}`),
        upgrade: ({ socket }) => socket.destroy(),
        upgrades: () => false,
        connectionLost: () => {},
      },
      resolveHttpServer(),
    )
    return Object.assign(protocol, { alpn })
  }
  const identity = new FakeIdentitySource(newIdentity(authority, 'inventory'))
  const protocols = [answers(MUX), answers(HTTP1)]
  const acceptor = new Acceptor(host, resolveHttpServer({ mode: 'strict' }), protocols, identity, undefined)
  await acceptor.listen()
  onTestFinished(() => acceptor.close())
  const { port } = acceptor.address
  const dial = (): Promise<TLSSocket> => connect(port, [MUX, HTTP1])
  const asked = async (socket: TLSSocket): Promise<string> => {
    const answer = new Promise<string>((resolve) => socket.once('data', (part) => resolve(String(part))))
    socket.write('GET / HTTP/1.1\r\nhost: inventory\r\n\r\n')
    return (await answer).split('\r\n').at(-1)!
  }
  expect(acceptor.transports).toEqual([MUX, HTTP1])
  const first = await dial()
  expect(first.alpnProtocol).toBe(MUX)
  host.transport = 'http1'
  acceptor.offerChanged()
  expect(acceptor.transports).toEqual([HTTP1])
  const second = await dial()
  expect([second.alpnProtocol, await asked(second), await asked(first)]).toEqual([
    HTTP1,
    'http/1.1 false',
    'inmesh/1 true',
  ])
  identity.rotate(newIdentity(authority, 'inventory'))
  const third = await dial()
  expect(third.alpnProtocol).toBe(HTTP1)
  for (const socket of [first, second, third]) socket.destroy()
})
