import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { serveGrpc } from '../../../src/server/grpc/server.ts'
import { craftLeaf, newAuthority } from '../../rigs/certificates.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { FRAME, frames, RawHttp2 } from '../../rigs/raw-http2.ts'
import { begin, KINDS, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { authority, clientOf, sendRaw, serverStack, tlsAttempt } from '../rig.ts'
import { callHeaders, meshClient, metadata, rawClient, serveShop, shopClient } from './rig.ts'

const hello: ShopHandlers = { Get: (_call, answer) => answer(null, { sku: 'hello', left: 7 }) }

describe('who may connect', () => {
  it('serves a peer with an identity of the mesh and tells the handler who it is', async () => {
    let told: unknown
    const { server } = await serveShop(
      {
        Get: (call, answer) => {
          const { transportSecurityType, sslPeerCertificate } = call.getAuthContext()
          told = {
            peer: currentCall()?.peer,
            transportSecurityType,
            name: sslPeerCertificate?.subjectaltname,
            address: call.getPeer(),
          }
          answer(null, {})
        },
      },
      { mode: 'strict' },
    )
    expect(await begin(meshClient(server.port), 'get').ended).toMatchObject({ code: grpc.status.OK })
    expect(told).toMatchObject({
      peer: { spiffeId: 'spiffe://mesh.test/service/checkout', service: 'checkout' },
      transportSecurityType: 'ssl',
      name: 'URI:spiffe://mesh.test/service/checkout',
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    })
  })

  it('refuses plaintext, missing, foreign and malformed certificates without running the handler, and says why', async () => {
    let ran = 0
    const { server, events } = await serveShop(
      {
        Get: (_call, answer) => {
          ran += 1
          answer(null, {})
        },
      },
      { mode: 'strict' },
    )
    const stranger = craftLeaf(newAuthority(), {})
    const twoNames = craftLeaf(authority, {
      uris: ['spiffe://mesh.test/service/checkout', 'spiffe://mesh.test/service/admin'],
    })
    const foreign = craftLeaf(authority, { uris: ['spiffe://other.test/service/checkout'] })
    const expired = craftLeaf(authority, { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 })
    const raw = await RawHttp2.connect(server.port)
    expect(await raw.ends()).toBe(true)
    for (const as of [undefined, stranger, twoNames, foreign, expired])
      expect(await tlsAttempt(server.port, as)).toMatch(/^HTTP\/1\.1 403 .*identity-rejected; reason=[a-z-]+\r\n/s)
    const { code } = await begin(shopClient(server.port, twoNames), 'get').ended
    expect(code).toBe(grpc.status.UNAVAILABLE)
    expect(ran).toBe(0)
    const reasons = events.of('peer:refused').map((event) => event.reason)
    expect(reasons.slice(0, 6)).toEqual([
      'plaintext',
      'no-certificate',
      'untrusted-issuer',
      'several-uri-names',
      'foreign-trust-domain',
      'expired',
    ])
    await expect.poll(() => server.stats).toMatchObject({ inFlight: 0 })
  })

  it('takes TLS and plaintext on one port when permissive, and counts the plaintext', async () => {
    const { server } = await serveShop(
      { Get: (_call, answer) => answer(null, { sku: currentCall()?.peer?.service ?? 'nobody' }) },
      { mode: 'permissive' },
    )
    const names = async (client: ReturnType<typeof meshClient>) => (await begin(client, 'get').ended).answers[0]?.sku
    expect(await names(meshClient(server.port))).toBe('checkout')
    expect(await names(shopClient(server.port))).toBe('nobody')
    expect(await tlsAttempt(server.port, undefined)).toMatch(/identity-rejected; reason=no-certificate\r\n/)
    expect(server.stats).toMatchObject({ accepted: 3, plaintext: 1, refused: 1 })
  })

  it('drops a connection that says nothing, whether it waits for a handshake or for a first byte', async () => {
    for (const mode of ['permissive', 'strict'] as const) {
      const { server } = await serveShop(hello, { mode, headersTimeout: 100 })
      expect(await sendRaw(server.port, '')).toBe('')
      await expect.poll(() => server.stats.connections).toBe(0)
    }
  })

  it('needs an identity unless it is plaintext, and a Server of grpc-js', async () => {
    const dependencies = { service: 'inventory', authorizer: compileIntentions([], 'allow'), stack: serverStack() }
    await expect(serveGrpc(shopServer(hello), { mode: 'strict' }, dependencies)).rejects.toMatchObject({
      code: 'not-in-mesh',
    })
    const nothing = serveGrpc({} as grpc.Server, { mode: 'plaintext' }, dependencies)
    await expect(nothing).rejects.toThrow(/expected a Server of @grpc\/grpc-js/)
    const wrong = serveGrpc(shopServer(hello), { mode: 'plaintext', ports: 1 } as object, dependencies)
    await expect(wrong).rejects.toThrow(/ports/)
  })

  it('drops whoever speaks HTTP/1.1 and goes on with others', async () => {
    const { server } = await serveShop(hello, { mode: 'permissive' })
    const text = await sendRaw(server.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    expect(text).not.toContain('200')
    expect(await tlsAttempt(server.port, clientOf('checkout'))).not.toContain('200')
    expect(await begin(meshClient(server.port), 'get').ended).toMatchObject({ code: grpc.status.OK })
    await expect.poll(() => server.stats.connections).toBe(1)
  })

  it('refuses a TLS client that has not asked for HTTP/2, and says so', async () => {
    const { server, events } = await serveShop(hello, { mode: 'strict' })
    const tls = { ...clientOf('checkout'), ca: authority.certificate, checkServerIdentity: () => undefined }
    const silent = await RawHttp2.connect(server.port, { ...tls, ALPNProtocols: undefined })
    expect(await silent.ends()).toBe(true)
    expect(silent.received).toEqual([])
    await expect(RawHttp2.connect(server.port, { ...tls, ALPNProtocols: ['http/1.1'] })).rejects.toThrow()
    await expect.poll(() => server.stats.connections).toBe(0)
    expect(events.of('peer:refused').map(({ reason }) => reason)).toEqual(['handshake-failed', 'handshake-failed'])
  })
})

describe('what is taken from headers', () => {
  it('drops every header of the mesh and every claim of identity', async () => {
    const seen: string[] = []
    const { server } = await serveShop({
      Get: (call, answer) => {
        seen.push(...Object.keys(call.metadata.getMap()))
        answer(null, {})
      },
    })
    const forged = {
      'inmesh-peer': 'root',
      // On the mux it is the deadline.
      ...(!OVER_MUX && { 'inmesh-timeout-ms': '0' }),
      'inmesh-not-executed': 'x',
      'x-forwarded-client-cert': 'me',
      'x-kept': '1',
    }
    const { code } = await begin(shopClient(server.port), 'get', { metadata: metadata(forged) }).ended
    expect(code).toBe(grpc.status.OK)
    expect(seen).toContain('x-kept')
    expect(seen.filter((name) => name.startsWith('inmesh-') || name.startsWith('x-forwarded'))).toEqual([])
  })

  it('gives the handler deadline, trace, baggage and the number of attempts before', async () => {
    let told: Record<string, unknown> = {}
    const { server } = await serveShop({
      Get: (call, answer) => {
        const current = currentCall()!
        told = {
          left: current.remainingMs,
          deadline: Number(call.getDeadline()) - Date.now(),
          trace: current.trace,
          baggage: [...current.baggage],
          before: current.previousAttempts,
          method: current.method,
          service: current.service,
        }
        answer(null, {})
      },
    })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const headers = { 'grpc-previous-rpc-attempts': '2', traceparent, baggage: 'tenant=a%20b' }
    const options = { metadata: metadata(headers), deadline: Date.now() + 8_000 }
    await begin(shopClient(server.port), 'get', options).ended
    expect(told.left).toBeGreaterThan(0)
    expect(told.left).toBeLessThanOrEqual(8_000)
    expect(Math.abs((told.deadline as number) - (told.left as number))).toBeLessThan(1_000)
    expect(told).toMatchObject({
      trace: { traceId: '0af7651916cd43dd8448eb211c80319c', sampled: true },
      baggage: [['tenant', 'a b']],
      before: 2,
      method: '/shop.Inventory/Get',
      service: 'inventory',
    })
    expect(currentCall()).toBeUndefined()
  })

  it('answers what is no gRPC as gRPC says, without a handler', async () => {
    const { server } = await serveShop(hello)
    const raw = await rawClient(server.port)
    raw.write(frames.headers(1, callHeaders('/shop.Inventory/Get', { 'content-type': 'application/json' })))
    const answer = await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)
    expect(answer?.payload.includes('415')).toBe(true)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})

describe('intentions', () => {
  it('answers PERMISSION_DENIED without running the handler, tells the audit, and follows a change at once', async () => {
    let ran = 0
    const handlers: ShopHandlers = {
      Get: (_call, answer) => {
        ran += 1
        answer(null, {})
      },
      Take: (_call, answer) => {
        ran += 1
        answer(null, {})
      },
    }
    const { server, events } = await serveShop(
      handlers,
      { mode: 'strict' },
      { authorizer: compileIntentions([{ from: 'checkout', grpc: ['shop.Inventory/Get'] }], 'deny') },
    )
    const checkout = meshClient(server.port)
    const audit = meshClient(server.port, 'audit')
    expect((await begin(checkout, 'get').ended).code).toBe(grpc.status.OK)
    const denied = await begin(checkout, 'take').ended
    expect(denied.code).toBe(grpc.status.PERMISSION_DENIED)
    expect(denied.metadata.get('inmesh-not-executed')).toEqual(['permission-denied'])
    expect((await begin(audit, 'get').ended).code).toBe(grpc.status.PERMISSION_DENIED)
    expect(ran).toBe(1)
    expect(events.of('intention:denied')[0]).toEqual({
      peer: 'checkout',
      method: '/shop.Inventory/Take',
      path: '/shop.Inventory/Take',
      reason: 'default',
    })
    server.authorizer = compileIntentions([{ from: 'audit' }], 'deny')
    expect((await begin(audit, 'take').ended).code).toBe(grpc.status.OK)
    expect((await begin(checkout, 'get').ended).code).toBe(grpc.status.PERMISSION_DENIED)
    expect(ran).toBe(2)
  })

  it('denies all four kinds before anything of the request is read', async () => {
    let ran = 0
    const count = (): void => {
      ran += 1
    }
    const { server } = await serveShop(
      { Get: count, Upload: count, Watch: count, Chat: count },
      { mode: 'strict' },
      { authorizer: compileIntentions([], 'deny') },
    )
    const client = meshClient(server.port)
    for (const kind of KINDS) {
      expect((await begin(client, kind, { open: true }).ended).code).toBe(grpc.status.PERMISSION_DENIED)
    }
    expect(ran).toBe(0)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('tells a denied caller nothing of which methods there are, and an allowed one that a method is not there', async () => {
    const allow = compileIntentions([{ from: 'checkout', grpc: ['shop.Inventory/*'] }], 'deny')
    const { server } = await serveShop(hello, { mode: 'strict' }, { authorizer: allow })
    const unknown = async (client: grpc.Client, path: string): Promise<grpc.ServiceError> =>
      new Promise((resolve) => {
        const same = (bytes: Buffer): Buffer => bytes
        client.makeUnaryRequest(path, same, same, Buffer.alloc(0), (error) => resolve(error!))
      })
    const audit = meshClient(server.port, 'audit')
    const [there, missing] = [
      (await begin(audit, 'get').ended).details,
      await unknown(audit, '/shop.Inventory/Nothing'),
    ]
    expect(missing.code).toBe(grpc.status.PERMISSION_DENIED)
    expect(missing.details).toBe(there)
    const checkout = meshClient(server.port)
    expect((await unknown(checkout, '/shop.Inventory/Nothing')).code).toBe(grpc.status.UNIMPLEMENTED)
    expect((await unknown(checkout, '/shop.Other/Nothing')).code).toBe(grpc.status.PERMISSION_DENIED)
  })
})
