/** A TCP server without a mesh, and peers of every kind. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectPlain, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectSecure, type TLSSocket } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Identity } from '../../../src/identity/identity.ts'
import { readGreeting, TCP_ALPN } from '../../../src/net/tcp-greeting.ts'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import type { TcpHandler } from '../../../src/server/tcp/call.ts'
import type { TcpServerOptions } from '../../../src/server/tcp/options.ts'
import { serveTcp, type TcpServer } from '../../../src/server/tcp/server.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { endpoint } from '../../client/http/rig.ts'
import { clientIdentity } from '../../client/identity-rig.ts'
import { TcpRig } from '../../client/tcp/rig.ts'
import { craftLeaf, newIdentity } from '../../rigs/certificates.ts'
import { echo, tcpTarget } from '../../rigs/tcp-target.ts'
import { authority, clientOf, FakeIdentitySource, RecordedEvents, serverStack } from '../rig.ts'

interface Served {
  readonly server: TcpServer
  readonly identity: FakeIdentitySource
  readonly events: RecordedEvents
}

async function serve(
  handler: TcpHandler | undefined,
  options: TcpServerOptions = {},
  unnamed: 'allow' | 'deny' = 'deny',
  clock?: FakeClock,
): Promise<Served> {
  const identity = new FakeIdentitySource(newIdentity(authority, 'redis'))
  const events = new RecordedEvents()
  const server = await serveTcp(handler, options, {
    ...{ service: 'redis', identity, events, stack: serverStack(), clock },
    authorizer: compileIntentions([{ from: '*', tcp: true }], unnamed),
    onHandlerError: () => {},
  })
  onTestFinished(async () => void (await server.close()))
  return { server, identity, events }
}

function rigTo(port: number, identity: Identity = newIdentity(authority, 'checkout')) {
  const { source, identity: ours } = clientIdentity(identity)
  const refused: string[] = []
  const rig = new TcpRig([endpoint(port, { tls: true, service: 'redis' })], {
    ...{ service: 'redis', identity: ours, retry: { attempts: 1 } },
    onRefusedByPeer: (reason) => refused.push(reason),
  })
  return { rig, source, refused }
}

function secure(port: number, as?: { key: string; cert: string }, alpn?: string[]): TLSSocket {
  const socket = connectSecure({
    ...{ port, host: '127.0.0.1', ca: authority.certificate, checkServerIdentity: () => undefined, ...as },
    ...(alpn !== undefined && { ALPNProtocols: alpn }),
  })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  return socket
}

/** All that arrives until the connection closes. */
function received(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  return new Promise((resolve) => socket.once('close', () => resolve(Buffer.concat(parts))))
}

async function exchange(socket: Socket, said: string): Promise<string> {
  socket.write(said)
  const [answer] = await once(socket, 'data')
  return String(answer)
}

describe('strangers', () => {
  it('reach no handler, whatever they send, and are closed within a bound', async () => {
    let served = 0
    const handler = (socket: Socket): void => {
      served += 1
      echo(socket)
    }
    const { server: impatient } = await serve(handler, { handshakeTimeout: '200ms' })
    const { server, events } = await serve(handler)
    const garbage = connectPlain(impatient.port, '127.0.0.1')
    garbage.on('error', () => {})
    garbage.write('PING\r\n'.repeat(100))
    const silent = Array.from({ length: 200 }, () => connectPlain(impatient.port, '127.0.0.1'))
    for (const socket of silent) socket.on('error', () => {})
    const closed = [garbage, ...silent].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
    for (const socket of [garbage, ...silent]) socket.resume()
    const [nobody, foreign] = [secure(server.port, undefined, [TCP_ALPN]), secure(server.port, clientOf('a'), ['h2'])]
    const [said] = await Promise.all([received(nobody), received(foreign), ...closed])
    expect(readGreeting(said)).toMatchObject({ refused: 'identity-rejected; reason=no-certificate' })
    const { rig } = rigTo(server.port)
    const socket = rig.connect()
    expect(await exchange(socket, 'x')).toBe('x')
    socket.destroy()
    expect(served).toBe(1)
    expect(events.of('peer:refused').map(({ reason }) => reason)).toContain('no-certificate')
    await expect.poll(() => [server.stats.connections, impatient.stats.connections]).toEqual([0, 0])
  })

  it('with a certificate of the mesh and no ALPN get the bare stream', async () => {
    const { server } = await serve(echo)
    expect(await exchange(secure(server.port, clientOf('cli')), 'PING')).toBe('PING')
  })

  it('without TLS are served by servers that say so', async () => {
    for (const mode of ['plaintext', 'permissive'] as const) {
      const identity = new FakeIdentitySource(newIdentity(authority, 'redis'))
      const server = await serveTcp(
        echo,
        { mode },
        { service: 'redis', identity, stack: serverStack(), authorizer: compileIntentions([], 'allow') },
      )
      onTestFinished(async () => void (await server.close()))
      const socket = connectPlain(server.port, '127.0.0.1')
      expect(await exchange(socket, 'PING')).toBe('PING')
      socket.destroy()
      expect(server.stats.plaintext).toBe(1)
    }
  })
})

describe('an identity', () => {
  it('that is refused is told so, and is no fault of the endpoint to be tried again', async () => {
    const { server, identity } = await serve(echo)
    identity.rotate({ ...identity.current, sequence: 2, denied: ['spiffe://mesh.test/service/checkout'] })
    const { rig, refused } = rigTo(server.port)
    const [error] = await once(rig.connect(), 'error')
    expect(error).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason: 'denied' } })
    expect(refused).toEqual(['denied'])
  })

  it('that is denied later loses its connections at once', async () => {
    const { server, identity } = await serve(echo)
    const { rig } = rigTo(server.port)
    const socket = rig.connect()
    expect(await exchange(socket, 'x')).toBe('x')
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    identity.rotate({ ...identity.current, sequence: 2, denied: ['spiffe://mesh.test/service/checkout'] })
    await closed
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('that rotates on both sides keeps its open connections, and opens others with the new certificate', async () => {
    const { server, identity } = await serve(echo)
    const { rig, source } = rigTo(server.port)
    const before = rig.connect()
    expect(await exchange(before, 'a')).toBe('a')
    identity.rotate()
    source.rotate({ ...newIdentity(authority, 'checkout'), generation: 2 })
    const after = rig.connect()
    expect(await exchange(after, 'b')).toBe('b')
    // Past the sweeps of both sides.
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    expect(await exchange(before, 'still there')).toBe('still there')
    expect(server.stats.inFlight).toBe(2)
    before.destroy()
    after.destroy()
  })

  it('whose certificate ends loses its connections, unless it has shown a later one', async () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const { server } = await serve(echo, {}, 'deny', clock)
    const notAfter = Math.ceil(clock.wallNow() / 1_000) * 1_000 + 50_000
    const leafOf = (service: string): Identity => {
      const { key, cert } = craftLeaf(authority, { uris: [`spiffe://mesh.test/service/${service}`], notAfter })
      return { ...newIdentity(authority, service), privateKey: key, certificate: cert }
    }
    const [ending, renewed] = [rigTo(server.port, leafOf('audit')), rigTo(server.port, leafOf('checkout'))]
    const [cut, kept] = [ending.rig.connect(), renewed.rig.connect()]
    for (const socket of [cut, kept]) expect(await exchange(socket, 'x')).toBe('x')
    renewed.source.rotate({ ...newIdentity(authority, 'checkout'), generation: 2 })
    const later = renewed.rig.connect()
    expect(await exchange(later, 'y')).toBe('y')
    cut.on('error', () => {})
    clock.advance(notAfter - clock.wallNow() - 1)
    expect(await exchange(cut, 'still there')).toBe('still there')
    const closed = new Promise((resolve) => {
      cut.once('close', resolve)
      cut.resume()
    })
    for (let second = 0; second < 10; second++) clock.advance(1_000)
    await closed
    expect(await exchange(kept, 'z')).toBe('z')
    kept.destroy()
    later.destroy()
  })
})

it('forwards to a Unix socket, which learns of a caller that breaks off', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-tcp-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'target.sock')
  const greet = (socket: Socket): void => {
    socket.resume().once('end', () => socket.end())
    socket.write('hello')
  }
  const target = await tcpTarget(greet, { path })
  const { server } = await serve(undefined, { mode: 'plaintext', target: target.address }, 'allow')
  for (let i = 0; i < 3; i++) {
    const socket = connectPlain(server.port, '127.0.0.1')
    await once(socket, 'data')
    socket.resetAndDestroy()
    await expect.poll(() => [server.stats.inFlight, target.sockets.size]).toEqual([0, 0])
  }
  const broken = connectPlain(server.port, '127.0.0.1')
  broken.on('error', () => {})
  await once(broken, 'data')
  const closed = new Promise((resolve) => broken.once('close', resolve))
  for (const one of target.sockets) one.destroy()
  await closed
})

it('closes at once: no socket, timer or listener is left', async () => {
  const { server } = await serve(echo)
  const { rig } = rigTo(server.port)
  const sockets = Array.from({ length: 5 }, () => rig.connect())
  for (const socket of sockets) expect(await exchange(socket, 'x')).toBe('x')
  const closed = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)))
  for (const socket of sockets) socket.resume()
  const report = await server.close()
  expect(report.cancelled).toBe(5)
  await Promise.all(closed)
  expect([server.stats.connections, server.stats.inFlight, rig.endpoint.pending]).toEqual([0, 0, 0])
})
