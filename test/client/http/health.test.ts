import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import type { ClientIdentity } from '../../../src/client/client-identity.ts'
import { TIMED_OUT } from '../../../src/client/health-checks.ts'
import { httpHealth } from '../../../src/client/http/health.ts'
import { HttpTransport } from '../../../src/client/http/transport.ts'
import { type HttpTransportOptions, resolveHttpTransport } from '../../../src/client/http/transport-options.ts'
import { systemClock } from '../../../src/core/clock.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import { OVER_MUX, PREFERENCE } from '../../rigs/mux-gateway.ts'
import { always, type Script, type ScriptedServer } from '../../rigs/scripted-server.ts'
import { opened, serve } from './opened.ts'
import { endpoint, until } from './rig.ts'

type Told = readonly [healthy: boolean | undefined, reason: string]

let clock: FakeClock
let transport: HttpTransport

async function setUp(connections: HttpTransportOptions = {}, identity?: ClientIdentity): Promise<void> {
  clock = new FakeClock()
  transport = await HttpTransport.create({
    clock,
    settings: resolveHttpTransport(connections),
    identity,
    preference: PREFERENCE,
  })
}

afterEach(() => {
  transport.close(0)
})

/** Starts one; what it told is in the list. */
function ask(at: Endpoint, path = '/healthz'): { told: Told[]; cancel: () => void } {
  const told: Told[] = []
  const cancel = httpHealth(transport, path)(at, 1_000, (healthy, reason) => told.push([healthy, reason]))
  return { told, cancel }
}

async function answerOf(at: Endpoint, path?: string): Promise<Told> {
  const { told } = ask(at, path)
  await until(() => told.length > 0)
  return told[0]!
}

async function over(script: Script): Promise<{ server: ScriptedServer; at: Endpoint }> {
  const server = await serve(script)
  return { server, at: endpoint(server.port) }
}

/** An exchange that is broken off costs its connection; on inmesh/1 it costs none. */
function givenUp(at: Endpoint): boolean {
  const { connections, idle } = transport.poolOf(at)
  return OVER_MUX ? idle === 1 : connections === 0
}

describe('an HTTP health check', () => {
  it.each([
    [200, true],
    [204, true],
    [299, true],
    [301, false],
    [403, false],
    [404, false],
    [429, false],
    [500, false],
    [503, false],
  ])('takes an answer %i for %s', async (status, healthy) => {
    await setUp()
    const { at } = await over(always(status))
    expect(await answerOf(at)).toEqual([healthy, `status ${status}`])
    expect(clock.timers).toBe(1) // the transport's sweeper
  })

  it('asks for the path with the name of the service and the time there is, and uses the connection again', async () => {
    await setUp()
    const heads: string[] = []
    const { server, at } = await over(async (connection) => {
      for (;;) {
        heads.push(await connection.request())
        connection.answer(200, 'all is well')
      }
    })
    for (let i = 0; i < 3; i++) await answerOf(at, '/ready?deep=1')
    expect(heads[0]!.split('\r\n').filter((line) => line !== '' && !/^connection:/i.test(line))).toEqual([
      'GET /ready?deep=1 HTTP/1.1',
      'host: inventory',
      'inmesh-timeout-ms: 1000',
    ])
    expect(server.connections).toBe(1)
    expect(transport.poolOf(at).idle).toBe(1)
  })

  it('reads the whole answer, and of a very long one no more than it has to', async () => {
    await setUp()
    const { at } = await over(async (connection) => {
      await connection.request()
      connection.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      for (let i = 0; i < 20; i++) connection.write(`2000\r\n${'x'.repeat(0x2000)}\r\n`)
    })
    expect(await answerOf(at)).toEqual([true, 'status 200'])
    await until(() => givenUp(at))
  })

  it('ignores interim answers', async () => {
    await setUp()
    const { at } = await over(async (connection) => {
      await connection.request()
      connection.write('HTTP/1.1 103 Early Hints\r\n\r\n')
      connection.answer(500)
    })
    expect(await answerOf(at)).toEqual([false, 'status 500'])
  })

  it.each([
    [503, undefined],
    [429, undefined],
    [403, false],
  ])('learns nothing from a %i by which the mesh, not the handler, says that it is busy', async (status, healthy) => {
    await setUp()
    const { at } = await over(always(status, '', { 'inmesh-not-executed': 'concurrency-limited' }))
    expect(await answerOf(at)).toEqual([healthy, `status ${status}`])
  })

  it('fails when there is no answer in time, before or within it, and gives the connection up', async () => {
    await setUp()
    const said = ['', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwe']
    for (const text of said) {
      let asked = 0
      const { at } = await over(async (connection) => {
        await connection.request()
        connection.write(text)
        asked += 1
      })
      const { told } = ask(at)
      await until(() => asked === 1)
      clock.advance(999)
      expect(told).toEqual([])
      clock.advance(1)
      await until(() => told.length > 0)
      expect(told).toEqual([[false, TIMED_OUT]])
      await until(() => givenUp(at))
    }
  })

  it('fails when the connection is refused, breaks, or speaks no HTTP', async () => {
    await setUp()
    expect(await answerOf(endpoint(await deadPort()))).toEqual([false, 'connect-failed'])
    const { at: broken } = await over(async (connection) => {
      await connection.request()
      connection.reset()
    })
    expect(await answerOf(broken)).toEqual([false, 'connection-lost'])
    const { at: strange } = await over(async (connection) => {
      await connection.request()
      connection.write('SSH-2.0-OpenSSH_9.6\r\n\r\n')
    })
    expect(await answerOf(strange)).toEqual([false, 'protocol-error'])
  })

  it('of an endpoint with mTLS has our identity, and asks nothing of one with another', async () => {
    const authority = newAuthority()
    const current = newIdentity(authority, 'checkout')
    const verifier = new PeerVerifier(systemClock, current)
    await setUp({}, { source: { current, onRotate: () => () => {} }, verifier })
    for (const [service, told] of [
      ['inventory', [true, 'status 200']],
      ['prices', [false, 'identity-rejected']],
    ] as const) {
      const asked: string[] = []
      const server = createServer(serverTlsOptions(newIdentity(authority, service)), (req, res) => {
        asked.push((req.socket as TLSSocket).getPeerX509Certificate()!.subjectAltName!)
        res.end('well')
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      opened({
        close: () =>
          new Promise<void>((resolve) => {
            server.closeAllConnections()
            server.close(() => resolve())
          }),
      })
      const at = endpoint((server.address() as AddressInfo).port, { tls: true })
      expect(await answerOf(at)).toEqual(told)
      expect(asked).toHaveLength(told[0] ? 1 : 0)
      if (told[0]) expect(asked[0]).toContain('/checkout')
    }
    // The server never answers the handshake.
    const silent = await serve(() => {})
    const { told } = ask(endpoint(silent.port, { tls: true }))
    await until(() => silent.connections === 1)
    clock.advance(1_000)
    await until(() => told.length > 0)
    expect(told[0]![0]).toBe(false)
  })

  // On inmesh/1 calls hold no connection, up to the peer's limit of streams.
  it.skipIf(OVER_MUX)(
    'finds nothing out while calls hold all connections, and takes no place in the queue for it',
    async () => {
      await setUp({ maxConnections: 1, maxWaiting: 1 })
      let asked = 0
      const { at } = await over(async (connection) => {
        await connection.request()
        asked += 1
      })
      const first = ask(at)
      await until(() => asked === 1)
      const second = ask(at)
      const third = ask(at)
      expect(third.told).toEqual([[undefined, 'queue-full']])
      clock.advance(1_000)
      await until(() => second.told.length > 0)
      expect(first.told).toEqual([[false, TIMED_OUT]])
      expect(second.told).toEqual([[undefined, 'no connection was free']])
      expect(transport.poolOf(at).waiting).toBe(0)
      expect(asked).toBe(1)
    },
  )

  // On inmesh/1 a connection is no surprise: its session hears of its end first.
  it.skipIf(OVER_MUX)('looks for another connection when the one it got turns out to be closed', async () => {
    await setUp()
    const sockets: Socket[] = []
    const { server, at } = await over(async (connection) => {
      sockets.push(connection.socket)
      await connection.request()
      connection.answer(200)
    })
    // Cancelled while it connects, it leaves a connection that was never used.
    ask(at).cancel()
    const pool = transport.poolOf(at)
    await until(() => pool.idle === 1 && sockets.length === 1)
    sockets[0]!.resetAndDestroy()
    expect(pool.idle).toBe(1)
    expect(await answerOf(at)).toEqual([true, 'status 200'])
    expect(server.connections).toBe(2)
  })

  it.skipIf(OVER_MUX)('is silent once it was cancelled, wherever it was', async () => {
    await setUp({ maxConnections: 1 })
    let asked = 0
    const { at } = await over(async (connection) => {
      await connection.request()
      asked += 1
    })
    const running = ask(at)
    await until(() => asked === 1)
    const waiting = ask(at)
    waiting.cancel()
    expect(transport.poolOf(at).waiting).toBe(0)
    running.cancel()
    await until(() => transport.poolOf(at).connections === 0)
    const connecting = ask(at)
    connecting.cancel()
    clock.advance(5_000)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect([running.told, waiting.told, connecting.told]).toEqual([[], [], []])
    expect(asked).toBe(1)
  })

  it('of a transport that is closed, or an endpoint that is withdrawn, blames nobody or fails at once', async () => {
    await setUp()
    const { at } = await over(always(200))
    await answerOf(at)
    transport.close(0)
    expect(ask(at).told).toEqual([[false, 'connect-failed']])
    expect(ask(endpoint(at.port)).told).toEqual([[undefined, 'closed']])
  })
})
