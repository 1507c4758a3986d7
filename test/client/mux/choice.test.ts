import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { ClientIdentity } from '../../../src/client/client-identity.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { HTTP1 } from '../../../src/core/transport.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { failure, opened } from '../http/opened.ts'
import { makeRig, until } from '../http/rig.ts'
import { announcing, answer, clientOf, peer } from './peers.ts'

async function listening<S extends Server>(server: S): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened({
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  })
  return (server.address() as AddressInfo).port
}

describe('an endpoint that announced inmesh/1', () => {
  it('and speaks HTTP/1.1 only, by its first bytes, loses no call', async () => {
    const port = await listening(createServer((_req, res) => res.end('old')))
    const rig = await clientOf([port], { retry: { attempts: 1 } })
    const calls = Array.from({ length: 20 }, async () => (await rig.http.post('/', 'x')).text())
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['old']))
    expect(rig.attempts.outcomes.every(({ verdict }) => verdict === 'success')).toBe(true)
  })

  it('and speaks HTTP/1.1 only, by ALPN, needs no second connection for it', async () => {
    const authority = newAuthority()
    const current = newIdentity(authority, 'checkout')
    const identity: ClientIdentity = {
      source: { current, onRotate: () => () => {} },
      verifier: new PeerVerifier(systemClock, current),
    }
    let connections = 0
    const server = createTlsServer(serverTlsOptions(newIdentity(authority, 'inventory')), (_req, res) => res.end('old'))
    server.on('secureConnection', () => {
      connections += 1
    })
    const port = await listening(server)
    const rig = opened(await makeRig([announcing(port, true)], { identity, preference: 'auto' }))
    for (let i = 0; i < 3; i++) expect(await (await rig.http.post('/', 'x')).text()).toBe('old')
    const long = await rig.http.post('/', Buffer.alloc(500_000))
    expect(await long.text()).toBe('old')
    expect(connections).toBe(1)
  })

  it.each<[string, string]>([
    ['garbage', 'SSH-2.0-nonsense\r\n\r\n'],
    ['nothing, and closes', ''],
  ])('and says %s is asked in HTTP/1.1, and fails like any other', async (_, text) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(text))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    opened(server)
    const rig = await clientOf([(server.address() as AddressInfo).port], { retry: { attempts: 1 } })
    const error = await failure(rig.http.get('/'))
    expect(error.code).toBe(text === '' ? 'connection-lost' : 'protocol-error')
  })
})

describe('a change of the preference', () => {
  it('replaces connections in both directions without losing a call', async () => {
    const { TestServer } = await import('../http/rig.ts')
    const { answerMux } = await import('../../rigs/mux-gateway.ts')
    const server = new TestServer((_req, res) => setTimeout(() => res.end('ok'), 3))
    answerMux(server.server)
    opened(await server.listen())
    const rig = await clientOf([server.port], { retry: { attempts: 1 } })
    let running = true
    const caller = async (): Promise<void> => {
      while (running) expect((await rig.http.post('/', 'x')).status).toBe(200)
    }
    const callers = Array.from({ length: 8 }, caller)
    for (const preference of ['http1', 'auto', 'http1', 'auto'] as const) {
      rig.transport.prefer('inventory', preference)
      const before = rig.attempts.outcomes.length
      await until(() => rig.attempts.outcomes.length > before + 40)
      const pool = rig.transport.poolOf(rig.endpoint)
      // Eight callers share one connection of inmesh/1.
      await until(() => pool.connections > 1 === (preference === 'http1'))
    }
    running = false
    await Promise.all(callers)
    expect(rig.attempts.outcomes.every(({ verdict }) => verdict === 'success')).toBe(true)
  })

  it('follows what the endpoint announces', async () => {
    const server = await peer((stream) => answer(stream))
    const rig = await clientOf([server.port])
    await rig.http.get('/')
    const pool = rig.transport.poolOf(rig.endpoint)
    rig.endpoint.transports = [HTTP1]
    pool.follow()
    await until(() => pool.connections === 0)
  })
})
