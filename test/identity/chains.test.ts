/** Which chains of certificates are accepted, by the verifier and over TLS. */
import { X509Certificate } from 'node:crypto'
import { connect, createServer } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import type { Authority } from '../../src/identity/certificate.ts'
import { renewRoot } from '../../src/identity/certificate.ts'
import { makeIdentity } from '../../src/identity/identity-check.ts'
import { PeerVerifier } from '../../src/identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, serverTlsOptions, verifyPeer } from '../../src/identity/tls-options.ts'
import type { TrustBundle } from '../../src/identity/trust-bundle.ts'
import { KEY_USAGE } from '../../src/identity/x509/certificate-builder.ts'
import * as der from '../../src/identity/x509/der-writer.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import {
  craftIntermediate,
  craftLeaf,
  newAuthority,
  newBundle,
  newIdentity,
  newIntermediate,
  newKey,
} from '../rigs/certificates.ts'

const root = newAuthority()
const intermediate = newIntermediate(root)
const bundle = under(intermediate)
const unknownCritical = der.sequence(
  der.objectIdentifier('2.5.29.30'),
  der.boolean(true),
  der.octetString(der.sequence()),
)

function under(...intermediates: readonly Authority[]): TrustBundle {
  return newBundle([root.certificate], 1, { intermediates: intermediates.map(({ certificate }) => certificate) })
}

function judge(trust: TrustBundle, signer: Authority) {
  const raw = new X509Certificate(craftLeaf(signer).cert).raw
  const verdict = new PeerVerifier(systemClock, trust).verify(raw)
  return verdict.ok ? 'ok' : verdict.reason
}

describe('a leaf of an intermediate', () => {
  test('is accepted under a bundle that names it, and so is one of the root', () => {
    expect(judge(bundle, intermediate)).toBe('ok')
    expect(judge(bundle, root)).toBe('ok')
  })

  test('is refused once the bundle names it no more, although its root is trusted', () => {
    const raw = new X509Certificate(newIdentity(intermediate, 'checkout').certificate).raw
    const verifier = new PeerVerifier(systemClock, bundle)
    expect(verifier.verify(raw).ok).toBe(true)
    verifier.setTrust({ ...bundle, sequence: 2, intermediates: [newIntermediate(root).certificate] })
    expect(verifier.verify(raw)).toMatchObject({ ok: false, reason: 'untrusted-issuer' })
  })

  test('is refused once the root above it is withdrawn', () => {
    expect(judge({ ...bundle, roots: [newAuthority().certificate] }, intermediate)).toBe('untrusted-issuer')
    expect(judge({ ...bundle, roots: [] }, intermediate)).toBe('untrusted-issuer')
  })

  const bad: readonly (readonly [string, Authority])[] = [
    ['is no authority', craftIntermediate(root, { ca: false, pathLength: 'absent' })],
    ['may not sign certificates', craftIntermediate(root, { keyUsage: [KEY_USAGE.digitalSignature] })],
    ['has no key usage', craftIntermediate(root, { keyUsage: 'absent' })],
    ['is of another trust domain', craftIntermediate(root, { uris: ['spiffe://other.test'] })],
    ['has the name of a workload', craftIntermediate(root, { uris: ['spiffe://mesh.test/service/checkout'] })],
    ['has two names', craftIntermediate(root, { uris: ['spiffe://mesh.test', 'spiffe://mesh.test'] })],
    ['has an extension that must be understood and is not', craftIntermediate(root, { more: [unknownCritical] })],
    ['was signed by no root of ours', newIntermediate(newAuthority())],
    ['signed itself', craftIntermediate(undefined)],
  ]

  test.each(bad)('that %s is refused, and harms no other', (_, signer) => {
    const trust = under(signer, intermediate)
    expect(judge(trust, signer)).toBe('untrusted-issuer')
    expect(judge(trust, intermediate)).toBe('ok')
  })

  test('that has ended, or has not begun, is refused by its time, whatever the leaf says', () => {
    const now = Date.now()
    const key = newKey()
    const ended = craftIntermediate(root, { key, notAfter: now - 1_000 })
    expect(judge(under(ended), ended)).toBe('expired')
    const early = craftIntermediate(root, { key, notBefore: now + 60_000 })
    expect(judge(under(early), early)).toBe('not-yet-valid')
    const raw = new X509Certificate(craftLeaf(ended, { notAfter: now + 3_600_000 }).cert).raw
    const clock = new FakeClock({ wallNow: now - 10_000 })
    const notAfter = Math.floor((now - 1_000) / 1_000) * 1_000
    expect(new PeerVerifier(clock, under(ended)).verify(raw)).toMatchObject({ ok: true, notAfter })
  })

  test('that a workload signed with its own key is refused, in the bundle or not', () => {
    const workload = craftLeaf(intermediate)
    const { name, keyId } = intermediate
    const key = newKey()
    const { cert } = craftLeaf(intermediate, key)
    const forger = { ...intermediate, signingKey: key.privateKey, certificate: cert, name, keyId }
    expect(judge(bundle, forger)).toBe('untrusted-issuer')
    expect(judge(newBundle(bundle.roots, 1, { intermediates: [cert, workload.cert] }), forger)).toBe('untrusted-issuer')
  })
})

describe('a chain', () => {
  test('of more authorities than one above allows is refused', () => {
    // Our own root allows one below it.
    const above = craftIntermediate(root, { pathLength: 5 })
    const below = craftIntermediate(above, { commonName: 'below' })
    expect(judge(under(above, below), above)).toBe('ok')
    expect(judge(under(above, below), below)).toBe('untrusted-issuer')
    const zero = craftIntermediate(undefined, { pathLength: 0, commonName: 'zero' })
    const one = craftIntermediate(zero)
    const trust = newBundle([zero.certificate], 1, { intermediates: [one.certificate] })
    expect(judge(trust, zero)).toBe('ok')
    expect(judge(trust, one)).toBe('untrusted-issuer')
  })

  test('of three intermediates is accepted in whatever order, one of four is not', () => {
    const company = craftIntermediate(undefined, { pathLength: 'absent', commonName: 'company' })
    const links = [company]
    for (let i = 1; i <= 4; i++) {
      links.push(craftIntermediate(links.at(-1)!, { pathLength: 'absent', commonName: `link ${i}` }))
    }
    const texts = links.slice(1).map(({ certificate }) => certificate)
    for (const intermediates of [texts, texts.toReversed()]) {
      const trust = newBundle([company.certificate], 1, { intermediates })
      expect(links.map((link) => judge(trust, link))).toEqual(['ok', 'ok', 'ok', 'ok', 'untrusted-issuer'])
    }
  })

  test('of authorities that signed each other leads nowhere', () => {
    const [one, two] = [newKey(), newKey()]
    const first = craftIntermediate(undefined, { key: one, commonName: 'one' })
    const second = craftIntermediate(first, { key: two, commonName: 'two' })
    const back = craftIntermediate(second, { key: one, commonName: 'one' })
    const trust = under(back, second, first)
    expect(judge(trust, back)).toBe('untrusted-issuer')
    expect(judge(trust, second)).toBe('untrusted-issuer')
  })

  test('is found among intermediates of one name, and among copies of one', () => {
    const name = { commonName: 'same' }
    const all = [craftIntermediate(root, name), craftIntermediate(root, name), craftIntermediate(root, name)]
    const trust = under(...all, ...all)
    expect(all.map((one) => judge(trust, one))).toEqual(['ok', 'ok', 'ok'])
    expect(judge(trust, craftIntermediate(newAuthority(), name))).toBe('untrusted-issuer')
  })

  test('goes by the certificate that lives longest, of a root or an intermediate renewed with its key', () => {
    const now = Date.now()
    const key = newKey()
    const short = craftIntermediate(undefined, { key, notAfter: now - 5_000, commonName: 'renewed' })
    const long = renewRoot(short, { notBefore: now - 60_000, notAfter: now + 3_600_000 })
    for (const roots of [
      [short.certificate, long.certificate],
      [long.certificate, short.certificate],
    ]) {
      expect(judge(newBundle(roots, 1), short)).toBe('ok')
    }
  })

  test('of 32 intermediates and 32 roots of one name is judged in less than the time of a handshake', () => {
    const name = { commonName: 'same' }
    const roots = Array.from({ length: 32 }, () => craftIntermediate(undefined, { ...name, pathLength: 'absent' }))
    const all = roots.map((one) => craftIntermediate(one, name).certificate)
    const trust = newBundle(
      roots.map(({ certificate }) => certificate),
      1,
      { intermediates: all },
    )
    const begun = process.cpuUsage()
    new PeerVerifier(systemClock, trust)
    // Some 10 ms; 32 * 32 signatures would be above.
    expect(process.cpuUsage(begun).user / 1_000).toBeLessThan(1_000)
  })
})

describe('an identity', () => {
  const good = newIdentity(intermediate, 'checkout')
  const make = (change: object) => () => makeIdentity({ ...good, ...bundle, ...change }, 1, systemClock)

  test('has its chain behind its leaf', () => {
    expect(make({})().certificate).toBe(good.certificate)
  })

  test.each([
    ['whose intermediate is not in the bundle', { intermediates: [] }, /untrusted-issuer/],
    [
      'with words in its chain',
      { certificate: good.certificate.replace('\n-----BEGIN', '\nword\n-----BEGIN') },
      /read/,
    ],
    ['with another leaf in its chain', { certificate: good.certificate + craftLeaf(root).cert }, /no authority/],
    [
      'with a long chain',
      { certificate: good.certificate + intermediate.certificate.repeat(4) },
      /1 to 4 certificates/,
    ],
    ['with a private key behind its chain', { certificate: good.certificate + good.privateKey }, /cannot be read/],
    ['with two roots in one text', { roots: [root.certificate + root.certificate] }, /no root/],
    ['with words around a root', { roots: [`subject=x\n${root.certificate}`] }, /no root/],
    ['with an intermediate that is none', { intermediates: ['nonsense'] }, /no intermediate certificate/],
    ['with a denied identity that is no id', { denied: ['checkout'] }, /no SPIFFE id/],
    [
      'with more intermediates than are read',
      { intermediates: Array(33).fill(intermediate.certificate) },
      /at most 32/,
    ],
  ])('%s is refused', (_, change, why) => {
    expect(make(change)).toThrow(why)
  })
})

describe('over TLS', () => {
  /** What each side concluded. */
  async function meet(serving: Authority, calling: Authority, trust: TrustBundle): Promise<string[]> {
    const verifier = new PeerVerifier(systemClock, trust)
    let served = 'none'
    const listener = createServer(
      serverTlsOptions({ ...newIdentity(serving, 'inventory'), ...trust }, { admitStrangers: true }),
      (socket) => {
        const verdict = verifyPeer(socket, verifier)
        served = verdict.ok ? verdict.spiffeId : verdict.reason
        socket.on('error', () => {}).end('hello')
      },
    )
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void listener.close())
    const { port } = listener.address() as { port: number }
    const ours = { ...newIdentity(calling, 'checkout'), ...trust }
    const socket = connect({ host: '127.0.0.1', port, ...clientTlsOptions(ours, verifier, { service: 'inventory' }) })
    let seen = ''
    socket.on('error', (error) => (seen = refusalOf(error)?.reason ?? error.message))
    socket.on('data', (chunk) => (seen += chunk.toString()))
    await new Promise((resolve) => socket.on('close', resolve))
    return [served, seen]
  }
  const CHECKOUT = 'spiffe://mesh.test/service/checkout'

  test('leaves of the root and of an intermediate meet, in both directions', async () => {
    const signers = [root, intermediate]
    for (const serving of signers) {
      for (const calling of signers) expect(await meet(serving, calling, bundle)).toEqual([CHECKOUT, 'hello'])
    }
  })

  test('a leaf that is sent without its chain is accepted: the bundle has it', async () => {
    const alone = { ...intermediate, chain: [] }
    expect(await meet(alone, alone, bundle)).toEqual([CHECKOUT, 'hello'])
  })

  test('an intermediate that is presented and not in the bundle is refused on both sides', async () => {
    const stolen = newIntermediate(root)
    expect((await meet(intermediate, stolen, bundle))[0]).toBe('untrusted-issuer')
    expect((await meet(stolen, intermediate, bundle))[1]).toBe('untrusted-issuer')
  })

  test('an intermediate below a company root and another intermediate is accepted', async () => {
    const company = craftIntermediate(undefined, { pathLength: 'absent', commonName: 'company' })
    const above = craftIntermediate(company, { pathLength: 1, commonName: 'department' })
    const below = craftIntermediate(above)
    const trust = newBundle([company.certificate], 1, { intermediates: [below.certificate, above.certificate] })
    expect(await meet(below, below, trust)).toEqual([CHECKOUT, 'hello'])
  })

  test('a session that is resumed is judged by the bundle of now', async () => {
    const verifier = new PeerVerifier(systemClock, bundle)
    const verdicts: string[] = []
    const server = { ...newIdentity(intermediate, 'inventory'), ...bundle }
    const listener = createServer(serverTlsOptions(server, { admitStrangers: true }), (socket) => {
      const verdict = verifyPeer(socket, verifier)
      verdicts.push(`${socket.isSessionReused()} ${verdict.ok ? 'ok' : verdict.reason}`)
      socket.on('error', () => {}).end('hello')
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void listener.close())
    const { port } = listener.address() as { port: number }
    const ours = { ...newIdentity(intermediate, 'checkout'), ...bundle }
    const call = (session?: Buffer) =>
      new Promise<Buffer | undefined>((resolve) => {
        // An attacker's client, which keeps sessions; ours never do.
        const tls = clientTlsOptions(ours, new PeerVerifier(systemClock, bundle), { service: 'inventory' })
        const socket = connect({ host: '127.0.0.1', port, ...tls, ...(session && { session }) })
        let kept: Buffer | undefined
        socket.on('session', (next) => (kept = next))
        socket.on('error', () => {}).resume()
        socket.on('close', () => resolve(kept))
      })
    const session = await call()
    expect(session).toBeDefined()
    await call(session)
    const next = { ...bundle, sequence: 2, intermediates: [newIntermediate(root).certificate] }
    verifier.setTrust(next)
    await call(session)
    listener.setSecureContext(serverTlsOptions({ ...server, ...next }, { admitStrangers: true }))
    await call(session)
    expect(verdicts.slice(0, 2)).toEqual(['false ok', 'true ok'])
    expect(verdicts.slice(2).map((one) => one.split(' ')[1])).toEqual(['untrusted-issuer', 'untrusted-issuer'])
  })
})
