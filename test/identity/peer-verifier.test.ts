import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type PeerRefusal, type PeerVerdict, PeerVerifier } from '../../src/identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, serverTlsOptions, verifyPeer } from '../../src/identity/tls-options.ts'
import { KEY_USAGE, OID } from '../../src/identity/x509/certificate-builder.ts'
import * as der from '../../src/identity/x509/der-writer.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { craftLeaf, type Leaf, newAuthority, newIdentity, TRUST_DOMAIN } from '../rigs/certificates.ts'

const authority = newAuthority()
const stranger = newAuthority()
const foreign = newAuthority(Date.now(), 'other.test')
const trust = { trustDomain: TRUST_DOMAIN, roots: [authority.certificate], sequence: 1 }
const now = Date.now()
const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
const root = { key: authority.privateKey, cert: authority.certificate }
/** id-pe-tlsfeature, as an extension that we do not know, marked critical. */
const unknownExtension = der.sequence(
  der.objectIdentifier('1.3.6.1.4.1.99999.1'),
  der.boolean(true),
  der.octetString(der.sequence()),
)

const mistakes: readonly (readonly [string, Leaf, PeerRefusal])[] = [
  ['two URI names', craftLeaf(authority, { uris: [uri('inventory'), uri('checkout')] }), 'several-uri-names'],
  [
    'the same URI name twice',
    craftLeaf(authority, { uris: [uri('inventory'), uri('inventory')] }),
    'several-uri-names',
  ],
  ['no names', craftLeaf(authority, { uris: [], commonName: 'nobody' }), 'no-uri-name'],
  ['a common name only', craftLeaf(authority, { uris: [], commonName: 'inventory' }), 'no-uri-name'],
  ['a DNS name only', craftLeaf(authority, { uris: [], dnsNames: ['inventory'] }), 'no-uri-name'],
  ['an https URI', craftLeaf(authority, { uris: [`https://${TRUST_DOMAIN}/service/inventory`] }), 'invalid-spiffe-id'],
  [
    'an upper-case trust domain',
    craftLeaf(authority, { uris: ['spiffe://MESH.test/service/inventory'] }),
    'invalid-spiffe-id',
  ],
  ['a comma in the URI', craftLeaf(authority, { uris: [`${uri('a')},URI:${uri('inventory')}`] }), 'invalid-spiffe-id'],
  ['no path', craftLeaf(authority, { uris: [`spiffe://${TRUST_DOMAIN}`] }), 'no-path'],
  [
    'a foreign trust domain',
    craftLeaf(authority, { uris: ['spiffe://other.test/service/inventory'] }),
    'foreign-trust-domain',
  ],
  ['CA:TRUE', craftLeaf(authority, { ca: true }), 'ca-certificate'],
  [
    'keyCertSign',
    craftLeaf(authority, { keyUsage: [KEY_USAGE.digitalSignature, KEY_USAGE.keyCertSign] }),
    'wrong-key-usage',
  ],
  ['cRLSign', craftLeaf(authority, { keyUsage: [KEY_USAGE.digitalSignature, KEY_USAGE.crlSign] }), 'wrong-key-usage'],
  ['no key usage', craftLeaf(authority, { keyUsage: 'absent' }), 'wrong-key-usage'],
  ['no extended key usage', craftLeaf(authority, { extendedKeyUsage: 'absent' }), 'wrong-extended-key-usage'],
  ['clientAuth only', craftLeaf(authority, { extendedKeyUsage: [OID.clientAuth] }), 'wrong-extended-key-usage'],
  ['serverAuth only', craftLeaf(authority, { extendedKeyUsage: [OID.serverAuth] }), 'wrong-extended-key-usage'],
  ['an unknown issuer', craftLeaf(stranger), 'untrusted-issuer'],
  ['the issuer of another trust domain', craftLeaf(foreign), 'untrusted-issuer'],
  ['an end in the past', craftLeaf(authority, { notBefore: now - 120_000, notAfter: now - 2_000 }), 'expired'],
  ['a begin in the future', craftLeaf(authority, { notBefore: now + 120_000 }), 'not-yet-valid'],
]

function uri(service: string): string {
  return `spiffe://${TRUST_DOMAIN}/service/${service}`
}

function rawOf(pem: string): Buffer {
  return new X509Certificate(pem).raw
}

describe('the peer verifier', () => {
  test.each(mistakes)('refuses a certificate with %s', (_what, leaf, reason) => {
    expect(new PeerVerifier(systemClock, trust).verify(rawOf(leaf.cert))).toMatchObject({ ok: false, reason })
  })

  test.each([
    ['nothing', undefined, 'no-certificate'],
    ['bytes that are no certificate', Buffer.from('hello'), 'malformed-certificate'],
    ['the root itself', rawOf(root.cert), 'no-path'],
    ['a weak RSA key', rawOf(craftLeaf(authority, rsa).cert), 'weak-key'],
    [
      'an unknown critical extension',
      rawOf(craftLeaf(authority, { more: [unknownExtension] }).cert),
      'malformed-certificate',
    ],
  ] as const)('refuses %s', (_what, raw, reason) => {
    expect(new PeerVerifier(systemClock, trust).verify(raw)).toMatchObject({ ok: false, reason })
  })

  test('refuses a certificate whose signature was changed', () => {
    const raw = Buffer.from(rawOf(craftLeaf(authority).cert))
    raw[raw.length - 1]! ^= 1
    expect(new PeerVerifier(systemClock, trust).verify(raw)).toMatchObject({ reason: 'untrusted-issuer' })
  })

  test('accepts a good one, without basic constraints too, and tells who it is', () => {
    const verifier = new PeerVerifier(systemClock, trust)
    for (const { cert } of [craftLeaf(authority), craftLeaf(authority, { ca: 'absent' })]) {
      const notAfter = Date.parse(new X509Certificate(cert).validTo)
      const accepted = { ok: true, spiffeId: uri('inventory'), service: 'inventory', notAfter }
      expect(verifier.verify(rawOf(cert))).toEqual(accepted)
    }
    const registry = craftLeaf(authority, { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })
    expect(verifier.verify(rawOf(registry.cert))).toMatchObject({ ok: true, service: undefined })
    expect(verifier.verifyId(rawOf(registry.cert), uri('inventory'))).toMatchObject({ reason: 'wrong-service' })
  })

  test('refuses a valid identity of another service to a client that called a certain one', () => {
    const verifier = new PeerVerifier(systemClock, trust)
    const raw = rawOf(craftLeaf(authority).cert)
    expect(verifier.verifyService(raw, 'inventory').ok).toBe(true)
    expect(verifier.verifyService(raw, 'checkout')).toMatchObject({
      reason: 'wrong-service',
      detail: `Service 'checkout' was called, but ${uri('inventory')} answered.`,
    })
  })

  test('looks at the time again although it remembers the certificate', () => {
    const clock = new FakeClock({ wallNow: now })
    const verifier = new PeerVerifier(clock, trust)
    const raw = rawOf(craftLeaf(authority, { notAfter: now + 20_000 }).cert)
    expect(verifier.verify(raw).ok).toBe(true)
    clock.advance(21_000)
    expect(verifier.verify(raw)).toMatchObject({ reason: 'expired' })
    clock.jumpWall(-21_000 - 120_000)
    expect(verifier.verify(raw)).toMatchObject({ reason: 'not-yet-valid' })
  })

  test('forgets what it verified when the bundle changes; an empty bundle trusts nobody', () => {
    const verifier = new PeerVerifier(systemClock, trust)
    const raw = rawOf(craftLeaf(authority).cert)
    expect(verifier.verify(raw).ok).toBe(true)
    verifier.setTrust({ ...trust, roots: [stranger.certificate, authority.certificate], sequence: 2 })
    expect(verifier.verify(raw).ok).toBe(true)
    verifier.setTrust({ ...trust, roots: [], sequence: 3 })
    expect(verifier.verify(raw)).toMatchObject({ reason: 'untrusted-issuer' })
    expect(() => verifier.setTrust({ ...trust, roots: ['nonsense'], sequence: 4 })).toThrow()
    verifier.setTrust(trust)
    expect(verifier.verify(raw).ok).toBe(true)
  })

  test('stays right when more peers come than it remembers', () => {
    const verifier = new PeerVerifier(systemClock, trust)
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const all = Array.from({ length: 1_100 }, (_, i) =>
      rawOf(craftLeaf(authority, { privateKey, publicKey, uris: [uri(`s${i}`)] }).cert),
    )
    for (const raw of [...all, ...all]) expect(verifier.verify(raw).ok).toBe(true)
  })
})

describe('over TLS', () => {
  const opened: { close(): void }[] = []
  afterEach(() => {
    for (const one of opened.splice(0)) one.close()
  })

  interface Meeting {
    /** What the server's side concluded; `undefined` if it never judged. */
    readonly server: PeerVerdict | undefined
    readonly client: PeerVerdict | undefined
    readonly received: string
  }

  /** One connection between two identities; the server answers `hello` to those it accepts. */
  async function meet(server: Identity, client: Identity, service: string): Promise<Meeting> {
    const verifier = new PeerVerifier(systemClock, trust)
    let served: PeerVerdict | undefined
    let settle = (): void => {}
    const judged = new Promise<void>((resolve) => {
      settle = resolve
    })
    const listener = createServer(serverTlsOptions(server), (socket) => {
      served = verifyPeer(socket, verifier)
      settle()
      if (served.ok) socket.end('hello')
      else socket.destroy()
      socket.on('error', () => {})
    })
    listener.on('tlsClientError', (error, socket: TLSSocket) => {
      served ??= refusalOf(error, socket)
      settle()
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    opened.push(listener)
    const { port } = listener.address() as { port: number }
    let seen: PeerVerdict | undefined
    let received = ''
    await new Promise<void>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, ...clientTlsOptions(client, verifier, { service }) })
      opened.push({ close: () => socket.destroy() })
      socket.on('data', (chunk) => {
        received += chunk.toString()
      })
      socket.on('error', (error) => {
        seen = refusalOf(error)
      })
      socket.on('close', () => resolve())
    })
    await judged
    return { server: served, client: seen, received }
  }

  function as(leaf: Leaf): Identity {
    return { ...newIdentity(authority, 'inventory'), privateKey: leaf.key, certificate: leaf.cert }
  }

  const good = newIdentity(authority, 'checkout')

  test('two good identities meet, and the server knows the client by its certificate', async () => {
    const met = await meet(newIdentity(authority, 'inventory'), good, 'inventory')
    expect(met).toEqual({
      server: expect.objectContaining({ ok: true, spiffeId: uri('checkout'), service: 'checkout' }),
      client: undefined,
      received: 'hello',
    })
  })

  test.each(mistakes)('a client with %s is refused by the server, with the reason', async (_what, leaf, reason) => {
    const met = await meet(newIdentity(authority, 'inventory'), as(leaf), 'inventory')
    expect(met.server).toMatchObject({ ok: false, reason })
    expect(met.received).toBe('')
  })

  test.each(mistakes)('a server with %s is refused by the client, with the reason', async (_what, leaf, reason) => {
    const met = await meet(as(leaf), good, 'inventory')
    expect(met.client).toMatchObject({ ok: false, reason })
    expect(met.received).toBe('')
  })

  test('a server that is another service is refused by the client', async () => {
    const met = await meet(newIdentity(authority, 'prices'), good, 'inventory')
    expect(met.client).toMatchObject({ ok: false, reason: 'wrong-service' })
    expect(met.received).toBe('')
  })

  test('an identity with an empty bundle trusts nobody, not the roots that come with Node', async () => {
    const met = await meet(newIdentity(authority, 'inventory'), { ...good, roots: [] }, 'inventory')
    expect(met.client).toMatchObject({ ok: false, reason: 'untrusted-issuer' })
  })

  test('a server takes the next generation and bundle for new connections, without a restart', async () => {
    const verifier = new PeerVerifier(systemClock, trust)
    const listener = createServer(serverTlsOptions(newIdentity(authority, 'inventory')), (socket) => {
      socket.on('error', () => {})
      const verdict = verifyPeer(socket, verifier)
      socket.end(verdict.ok ? verdict.spiffeId : verdict.reason)
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    opened.push(listener)
    const { port } = listener.address() as { port: number }
    const next = newAuthority()
    const both = { ...trust, roots: [authority.certificate, next.certificate], sequence: 2 }
    const call = async (client: Identity): Promise<string> => {
      const judge = new PeerVerifier(systemClock, client)
      const socket = connect({ host: '127.0.0.1', port, ...clientTlsOptions(client, judge, { service: 'inventory' }) })
      let text = ''
      for await (const chunk of socket) text += chunk
      return text
    }
    expect(await call(good)).toBe(uri('checkout'))
    // Under TLS 1.3 a refused client has seen a good handshake: it gets an early end or a reset,
    // but nothing to read.
    const early = call({ ...newIdentity(next, 'checkout'), roots: both.roots })
    expect(await early.catch(() => '')).toBe('')
    listener.setSecureContext(serverTlsOptions({ ...newIdentity(next, 'inventory'), roots: both.roots }))
    verifier.setTrust(both)
    expect(await call({ ...newIdentity(next, 'checkout'), roots: both.roots })).toBe(uri('checkout'))
    expect(await call({ ...good, roots: both.roots })).toBe(uri('checkout'))
    await expect(call(good)).rejects.toMatchObject({ code: 'SELF_SIGNED_CERT_IN_CHAIN' })
  })

  test('a client without a certificate is refused by a strict server', async () => {
    const listener = createServer(serverTlsOptions(newIdentity(authority, 'inventory')), () => {})
    const refused = new Promise((resolve) => {
      listener.on('tlsClientError', (error, socket: TLSSocket) => resolve(refusalOf(error, socket)))
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    opened.push(listener)
    const { port } = listener.address() as { port: number }
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
    opened.push({ close: () => socket.destroy() })
    socket.on('error', () => {})
    expect(await refused).toMatchObject({ ok: false, reason: 'no-certificate' })
  })

  test('a server that admits strangers can still tell them from peers', async () => {
    const verifier = new PeerVerifier(systemClock, trust)
    const verdicts: PeerVerdict[] = []
    const options = serverTlsOptions(newIdentity(authority, 'inventory'), { admitStrangers: true })
    const listener = createServer(options, (socket) => {
      verdicts.push(verifyPeer(socket, verifier))
      socket.on('error', () => {})
      socket.end()
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    opened.push(listener)
    const { port } = listener.address() as { port: number }
    const expired = craftLeaf(authority, { notBefore: now - 120_000, notAfter: now - 2_000 })
    for (const leaf of [undefined, craftLeaf(stranger), expired, craftLeaf(authority)]) {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...leaf })
      socket.on('error', () => {})
      socket.resume()
      await new Promise<void>((resolve) => socket.on('close', () => resolve()))
    }
    expect(verdicts.map((v) => (v.ok ? v.service : v.reason))).toEqual([
      'no-certificate',
      'untrusted-issuer',
      'expired',
      'inventory',
    ])
  })
})
