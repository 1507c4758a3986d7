/**
 * gRPC connections with mTLS: whom they believe, and that an identity is rotated under running
 * calls.
 */
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import type { RefusedPeer } from '../../../src/identity/peer-verifier.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { craftLeaf, newAuthority, newIdentity } from '../../rigs/certificates.ts'
import type { ScriptedGrpcServer } from '../../rigs/scripted-grpc-server.ts'
import { endpoint, until } from '../http/rig.ts'
import { ChangingIdentity, clientIdentity } from '../identity-rig.ts'
import { GET, KINDS } from './kinds.ts'
import { answerWell, causeOf, type GrpcRig, type GrpcRigOptions, grpcRigOver, serveGrpc, stock } from './rig.ts'

const authority = newAuthority()
const HOUR_MS = 3_600_000

function secure(identity: Identity, script = answerWell): Promise<ScriptedGrpcServer> {
  return serveGrpc(script, { tls: serverTlsOptions(identity) })
}

function rigTo(server: { readonly port: number }, options: GrpcRigOptions): GrpcRig {
  return grpcRigOver([endpoint(server.port, { tls: true, protocol: 'grpc' })], options)
}

/** Of another service, or signed by an unknown authority, or out of date. */
function impostors(): [string, Identity][] {
  const good = newIdentity(authority, 'inventory')
  const stranger = craftLeaf(newAuthority())
  const expired = craftLeaf(authority, { notBefore: Date.now() - 2 * HOUR_MS, notAfter: Date.now() - HOUR_MS })
  const early = craftLeaf(authority, { notBefore: Date.now() + HOUR_MS, notAfter: Date.now() + 2 * HOUR_MS })
  const nobody = craftLeaf(authority, { uris: [], dnsNames: ['inventory'] })
  const as = (leaf: { key: string; cert: string }): Identity => ({
    ...good,
    privateKey: leaf.key,
    certificate: leaf.cert,
  })
  return [
    ['another service', newIdentity(authority, 'prices')],
    ['a stranger, signed by a foreign root', as(stranger)],
    ['one whose certificate has expired', as(expired)],
    ['one whose certificate is not valid yet', as(early)],
    ['one without an identity of the mesh', as(nobody)],
  ]
}

describe('a connection with mTLS', () => {
  it('shows our identity and carries calls of all kinds', async () => {
    const server = await secure(newIdentity(authority, 'inventory'))
    const { identity, source } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = rigTo(server, { identity })
    for (const kind of [...KINDS, GET]) expect((await kind.run(rig.client)).error).toBeUndefined()
    expect([server.connections, rig.transport.connections]).toEqual([1, 1])
    rig.close()
    expect(source.listeners).toBe(0)
    await until(() => server.open === 0)
  })

  it.each(impostors())('believes not %s: nothing is sent, and it is told once a connection', async (_who, impostor) => {
    const server = await secure(impostor)
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const told: RefusedPeer[] = []
    const rig = rigTo(server, { identity, retry: { attempts: 1 }, onPeerRefused: (refused) => told.push(refused) })
    const ends = await Promise.all([...KINDS, GET].map((kind) => kind.run(rig.client, { idempotent: true })))
    for (const { error } of ends) {
      const cause = causeOf(error)
      expect([cause.code, cause.sent, error?.code]).toEqual(['identity-rejected', false, 14])
    }
    expect(server.streams).toBe(0)
    expect(told).toHaveLength(1)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(Array(5).fill('refused'))
    await until(() => rig.transport.connections === 0)
  })

  it('goes elsewhere when one is not believed, also with what must not be executed twice', async () => {
    const bad = await secure(newIdentity(authority, 'prices'))
    const good = await secure(newIdentity(authority, 'inventory'))
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const ends = [bad, good].map(({ port }) => endpoint(port, { tls: true, protocol: 'grpc' }))
    const rig = grpcRigOver(ends, { identity })
    for (const kind of KINDS) expect((await kind.run(rig.client)).error).toBeUndefined()
    expect([bad.streams, good.streams]).toEqual([0, 4])
  })

  it('is not made to somebody in plaintext, nor in plaintext to somebody with mTLS, nor without an identity', async () => {
    const plain = await serveGrpc(answerWell)
    const safe = await secure(newIdentity(authority, 'inventory'))
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const retry = { attempts: 1 }
    const rigs = [
      rigTo(plain, { identity, retry }),
      grpcRigOver([safe.port], { retry, settings: { connectTimeoutMs: 300 } }),
      rigTo(safe, { retry }),
    ]
    const codes = ['connect-failed', 'connect-failed', 'identity-rejected']
    for (const [i, rig] of rigs.entries()) {
      const { error } = await KINDS[0]!.run(rig.client)
      expect([i, causeOf(error).code, causeOf(error).sent]).toEqual([i, codes[i], false])
    }
    expect(plain.streams + safe.streams).toBe(0)
  })

  it('that the server refuses fails, and what may go elsewhere does', async () => {
    const server = await secure(newIdentity(authority, 'inventory'))
    const foreign = newIdentity(newAuthority(), 'checkout')
    const source = new ChangingIdentity({ ...foreign, roots: [authority.certificate] })
    const identity = { source, verifier: new PeerVerifier(systemClock, source.current) }
    const plain = await serveGrpc(answerWell)
    const ends = [endpoint(server.port, { tls: true, protocol: 'grpc' }), endpoint(plain.port, { protocol: 'grpc' })]
    const rig = grpcRigOver(ends, { identity })
    for (let i = 0; i < 4; i++) expect((await GET.run(rig.client)).error).toBeUndefined()
    expect([server.streams, plain.streams]).toEqual([0, 4])
  })

  it('moves to a rotated identity while calls and streams run, and nothing fails', async () => {
    const serials = new Map<number, string>()
    let stop = false
    const server = await secure(newIdentity(authority, 'inventory'), async (call, headers, nth) => {
      const socket = call.stream.session!.socket as unknown as { getPeerX509Certificate(): { serialNumber: string } }
      serials.set(call.connection, socket.getPeerX509Certificate().serialNumber)
      if (headers[':path'] !== '/shop.Inventory/Chat') return answerWell(call, headers, nth)
      call.send(stock('begun'))
      for (let message = await call.message(); message !== undefined; message = await call.message()) {
        call.send(stock('more'))
      }
      call.finish()
    })
    const { source, identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = rigTo(server, { identity, settings: { rotationSpreadMs: 100 } })
    const chat = rig.client.chat()
    let heard = 0
    chat.on('data', () => {
      heard += 1
    })
    const chatted = new Promise<number>((resolve) =>
      chat.on('status', ({ code }) => resolve(code)).on('error', () => {}),
    )
    await until(() => heard === 1)
    let calls = 0
    const traffic = Promise.all(
      KINDS.slice(0, 3).map(async (kind) => {
        while (!stop) {
          expect((await kind.run(rig.client)).error).toBeUndefined()
          calls += 1
        }
      }),
    )
    for (let generation = 2; generation <= 4; generation++) {
      const from = calls
      await until(() => calls > from + 20)
      source.rotate({ ...newIdentity(authority, 'checkout'), generation })
      await until(() => server.connections === generation)
    }
    const from = calls
    await until(() => calls > from + 20)
    stop = true
    await traffic
    chat.write({ sku: 'a' })
    await until(() => heard === 2)
    chat.end()
    expect(await chatted).toBe(0)
    expect(new Set(serials.values()).size).toBe(4)
    expect(rig.attempts.outcomes.every(({ verdict }) => verdict === 'success')).toBe(true)
    // The old ones ended with their last streams.
    await until(() => rig.transport.connections === 1)
  })
})
