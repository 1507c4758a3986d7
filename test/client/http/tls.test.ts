import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { craftLeaf, newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { ChangingIdentity, clientIdentity } from '../identity-rig.ts'
import { opened } from './opened.ts'
import { endpoint, makeRig, TestServer, until } from './rig.ts'

async function secureServer(
  identity: Identity,
): Promise<{ server: Server; port: number; serials: string[]; requests: () => number }> {
  const serials: string[] = []
  let requests = 0
  const server = createServer(serverTlsOptions(identity), (req, res) => {
    requests += 1
    serials.push((req.socket as TLSSocket).getPeerX509Certificate()!.serialNumber)
    setTimeout(() => res.end('ok'), Number(req.url!.slice(1)) || 0)
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened({
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  })
  return { server, port: (server.address() as AddressInfo).port, serials, requests: () => requests }
}

const authority = newAuthority()

describe('a connection with mTLS', () => {
  it('shows our identity and carries calls', async () => {
    const { port, serials } = await secureServer(newIdentity(authority, 'inventory'))
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = await makeRig([endpoint(port, { tls: true })], { identity })
    opened(rig)
    for (let i = 0; i < 5; i++) expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(serials.length).toBe(5)
    expect(rig.transport.connections).toBe(1)
  })

  it('is refused before anything is sent when another service answers', async () => {
    const { port, requests } = await secureServer(newIdentity(authority, 'prices'))
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = await makeRig([endpoint(port, { tls: true })], { identity, retry: { attempts: 1 } })
    opened(rig)
    const error = await rig.http.post('/', 'x').catch((reason) => reason)
    expect([error.code, error.sent]).toEqual(['identity-rejected', false])
    expect(error.message).toContain('prices')
    expect(requests()).toBe(0)
  })

  it('is refused when a stranger answers, or somebody in plaintext', async () => {
    const stranger = craftLeaf(newAuthority())
    const bad = { ...newIdentity(authority, 'inventory'), privateKey: stranger.key, certificate: stranger.cert }
    const { port, requests } = await secureServer(bad)
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const plain = await new TestServer((_req, res) => res.end('plain')).listen()
    opened(plain)
    for (const [at, code] of [
      [port, 'identity-rejected'],
      [plain.port, 'connect-failed'],
    ] as const) {
      const rig = await makeRig([endpoint(at, { tls: true })], { identity, retry: { attempts: 1 } })
      opened(rig)
      const error = await rig.http.post('/', 'x').catch((reason) => reason)
      expect([error.code, error.sent]).toEqual([code, false])
    }
    expect(requests() + plain.requests).toBe(0)
  })

  it('that the server refuses looks like one that is lost: a GET goes elsewhere', async () => {
    const { port, requests } = await secureServer(newIdentity(authority, 'inventory'))
    // Signed by somebody whom the server does not trust, while we trust the server.
    const foreign = newIdentity(newAuthority(), 'checkout')
    const source = new ChangingIdentity({ ...foreign, roots: [authority.certificate] })
    const identity = { source, verifier: new PeerVerifier(systemClock, source.current) }
    const plain = await new TestServer((_req, res) => res.end('elsewhere')).listen()
    opened(plain)
    const rig = await makeRig([endpoint(port, { tls: true }), endpoint(plain.port)], { identity })
    opened(rig)
    for (let i = 0; i < 4; i++) expect(await (await rig.http.get('/')).text()).toBe('elsewhere')
    expect(requests()).toBe(0)
    expect(rig.attempts.outcomes.some((o) => o.code === 'connection-lost')).toBe(true)
  })

  it('is never made without an identity', async () => {
    const { port } = await secureServer(newIdentity(authority, 'inventory'))
    const rig = await makeRig([endpoint(port, { tls: true })], { retry: { attempts: 1 } })
    opened(rig)
    await expect(rig.http.get('/')).rejects.toMatchObject({ code: 'identity-rejected', sent: false })
  })

  it('moves to a rotated identity while traffic flows, and nothing fails', async () => {
    const { port, serials } = await secureServer(newIdentity(authority, 'inventory'))
    const { source, identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = await makeRig([endpoint(port, { tls: true })], { identity, connections: { rotationSpread: 100 } })
    opened(rig)
    let stop = false
    let calls = 0
    const traffic = Promise.all(
      [0, 1, 2, 3].map(async () => {
        while (!stop) {
          expect((await rig.http.post('/5', 'x')).status).toBe(200)
          calls += 1
        }
      }),
    )
    await until(() => calls > 20)
    const old = new Set(serials)
    expect(old.size).toBe(1)
    source.rotate({ ...newIdentity(authority, 'checkout'), generation: 2 })
    await new Promise((resolve) => setTimeout(resolve, 150))
    const from = serials.length
    await until(() => serials.length > from + 40)
    stop = true
    await traffic
    expect(serials.slice(from + 4).some((serial) => old.has(serial))).toBe(false)
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'success')).toBe(true)
    rig.close()
    expect(source.listeners).toBe(0)
  })
})
