import { createServer as createTcpServer, type Server } from 'node:net'
import { connect, createServer } from 'node:tls'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { MeshError } from '../../src/core/errors.ts'
import { pinnedTlsOptions, unpinnedTlsOptions } from '../../src/identity/first-contact.ts'
import type { Identity } from '../../src/identity/identity.ts'
import {
  createToken,
  formatToken,
  parseToken,
  rootFingerprint,
  sameHash,
  tokenHash,
  verifyPinnedRoot,
} from '../../src/identity/join-token.ts'
import { serverTlsOptions } from '../../src/identity/tls-options.ts'
import {
  craftIntermediate,
  craftLeaf,
  newAuthority,
  newIdentity,
  newIntermediate,
  TRUST_DOMAIN,
} from '../rigs/certificates.ts'
import { deadPort } from '../rigs/dead-port.ts'

const authority = newAuthority()
const fingerprint = rootFingerprint(authority.certificate)

describe('a token', () => {
  test.each(['join', 'admin'] as const)('of kind %s is read back from its text', (kind) => {
    const token = createToken(kind, fingerprint)
    const text = formatToken(token)
    expect(text).toMatch(new RegExp(`^inmesh-${kind}\\.[\\w-]{27}\\.[\\w-]{43}$`))
    expect(parseToken(text)).toEqual(token)
    expect(parseToken(`  ${text}\n`)).toEqual(token)
    expect(createToken(kind, fingerprint).secret).not.toBe(token.secret)
  })

  test('that is anything else is no token', () => {
    const text = formatToken(createToken('join', fingerprint))
    for (const wrong of ['', 'x', text.slice(1), text.slice(0, -1), `${text}.x`, text.replace('join', 'root')]) {
      expect(parseToken(wrong)).toBeUndefined()
    }
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (any) => void expect(parseToken(any)).toBeUndefined()))
  })

  test('is stored as a hash', () => {
    const { secret } = createToken('join', fingerprint)
    expect(tokenHash(secret)).toMatch(/^[0-9a-f]{64}$/)
    expect(sameHash(tokenHash(secret), tokenHash(secret))).toBe(true)
    expect(sameHash(tokenHash(secret), tokenHash(`${secret}x`))).toBe(false)
    expect(sameHash('short', tokenHash(secret))).toBe(false)
  })
})

describe('a pinned root', () => {
  test('is found among what was presented, by its key, and only if it is an authority that signed itself', () => {
    const leaf = newIdentity(authority, 'checkout').certificate
    expect(verifyPinnedRoot([leaf, authority.certificate], fingerprint)).toBe(authority.certificate)
    expect(verifyPinnedRoot([leaf, newAuthority().certificate], fingerprint)).toBeUndefined()
    expect(verifyPinnedRoot([leaf], rootFingerprint(leaf))).toBeUndefined()
    expect(verifyPinnedRoot(['nonsense', authority.certificate], fingerprint)).toBe(authority.certificate)
    expect(verifyPinnedRoot([], fingerprint)).toBeUndefined()
  })
})

describe('first contact', () => {
  const servers: Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })

  async function listen(server: Server): Promise<number> {
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as { port: number }).port
  }

  function registry(leaf = craftLeaf(authority, { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })): Identity {
    return { ...newIdentity(authority, 'registry'), privateKey: leaf.key, certificate: leaf.cert }
  }

  function serve(identity: Identity): Promise<number> {
    const options = serverTlsOptions(identity, { sendRoots: true, admitStrangers: true })
    return listen(createServer(options, (socket) => socket.on('error', () => {}).end('welcome')))
  }

  const contact = (port: number, pin = fingerprint, timeoutMs = 30_000) =>
    pinnedTlsOptions({ host: '127.0.0.1', port, fingerprint: pin, clock: systemClock, timeoutMs })

  async function read(port: number, tls: object): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port, ...tls })
    let text = ''
    for await (const chunk of socket) text += chunk
    return text
  }

  test('with only the fingerprint yields options for connections that TLS itself verifies', async () => {
    const port = await serve(registry())
    const { root, trustDomain, tls } = await contact(port)
    expect([root, trustDomain]).toEqual([authority.certificate, TRUST_DOMAIN])
    expect(tls.rejectUnauthorized).toBe(true)
    expect(await read(port, tls)).toBe('welcome')
    const impostor = await serve({ ...newIdentity(newAuthority(), 'registry') })
    await expect(read(impostor, tls)).rejects.toMatchObject({ code: 'SELF_SIGNED_CERT_IN_CHAIN' })
    const neighbour = await serve(newIdentity(authority, 'checkout'))
    await expect(read(neighbour, tls)).rejects.toMatchObject({ code: 'identity-rejected' })
  })

  test('without a fingerprint believes the root it is shown, but nobody who does not have its certificate', async () => {
    const at = { host: '127.0.0.1', clock: systemClock }
    const { root, tls } = await unpinnedTlsOptions({ ...at, port: await serve(registry()) })
    expect(root).toBe(authority.certificate)
    expect(tls.rejectUnauthorized).toBe(true)
    const port = await serve(newIdentity(authority, 'checkout'))
    await expect(unpinnedTlsOptions({ ...at, port })).rejects.toMatchObject({ code: 'identity-rejected' })
    const { privateKey: key, certificate: cert } = registry()
    const rootless = await listen(createServer({ key, cert }, (socket) => socket.on('error', () => {})))
    await expect(unpinnedTlsOptions({ ...at, port: rootless })).rejects.toMatchObject({
      code: 'identity-rejected',
      message: expect.stringContaining(`127.0.0.1:${rootless} presented no root certificate`),
    })
  })

  test('refuses a registry with another root, and says that the token is for another one', async () => {
    const port = await serve(registry())
    await expect(contact(port, rootFingerprint(newAuthority().certificate))).rejects.toMatchObject({
      code: 'identity-rejected',
      message: expect.stringContaining('the token is for another registry'),
      cause: { reason: 'untrusted-issuer' },
    })
  })

  test('refuses whoever shows the pinned root with a leaf that it did not sign', async () => {
    const forged = craftLeaf(newAuthority(), { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })
    const port = await serve(registry(forged))
    await expect(contact(port)).rejects.toMatchObject({
      code: 'identity-rejected',
      cause: { reason: 'untrusted-issuer' },
    })
  })

  test('verifies the registry below an intermediate, also among two roots and copies of certificates', async () => {
    const intermediate = newIntermediate(authority)
    const other = newAuthority()
    const leaf = craftLeaf(intermediate, { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })
    const chain = [leaf.cert, intermediate.certificate, intermediate.certificate, newIntermediate(other).certificate]
    const roots = [other.certificate, authority.certificate]
    const port = await serve({ ...registry({ ...leaf, cert: chain.join('') }), roots })
    const { root, presented, tls } = await contact(port)
    expect(root).toBe(authority.certificate)
    expect(presented).toEqual([fingerprint, rootFingerprint(other.certificate)])
    expect(await read(port, tls)).toBe('welcome')
  })

  test.each([
    ['of another root', () => newIntermediate(newAuthority())],
    ['that may not sign', () => craftIntermediate(authority, { keyUsage: [0] })],
    ['of another trust domain', () => craftIntermediate(authority, { uris: ['spiffe://other.test'] })],
    ['that has ended', () => craftIntermediate(authority, { notAfter: Date.now() - 1_000 })],
    ['below one with path length 0', () => craftIntermediate(newIntermediate(authority))],
  ])('refuses a registry below an intermediate %s, beside the pinned root', async (_, make) => {
    const intermediate = make()
    const leaf = craftLeaf(intermediate, { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })
    const port = await serve(registry({ ...leaf, cert: [leaf.cert, ...intermediate.chain].join('') }))
    await expect(contact(port)).rejects.toBeInstanceOf(MeshError)
  })

  test('refuses a chain in which the pinned root comes too late to be looked for', async () => {
    const many = Array.from({ length: 12 }, () => newIntermediate(authority).certificate)
    const { cert, ...leaf } = craftLeaf(authority, { uris: [`spiffe://${TRUST_DOMAIN}/registry`] })
    const port = await serve(registry({ ...leaf, cert: [cert, ...many].join('') }))
    await expect(contact(port)).rejects.toMatchObject({ code: 'identity-rejected' })
  })

  test('refuses another service of the same mesh in place of the registry', async () => {
    const port = await serve(newIdentity(authority, 'checkout'))
    await expect(contact(port)).rejects.toMatchObject({ code: 'identity-rejected', cause: { reason: 'wrong-service' } })
  })

  test('says so when nobody listens, nobody answers, or nobody speaks TLS', async () => {
    await expect(contact(await deadPort())).rejects.toMatchObject({ code: 'registry-unavailable' })
    const silent = await listen(createTcpServer((socket) => socket.on('error', () => {}).resume()))
    await expect(contact(silent, fingerprint, 100)).rejects.toThrow(/no TLS handshake within 100 ms/)
    const plain = await listen(createTcpServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 no\r\n\r\n')))
    await expect(contact(plain)).rejects.toMatchObject({ code: 'registry-unavailable' })
  })
})
