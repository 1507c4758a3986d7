import 'reflect-metadata'
import { execFile, spawnSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as oracle from '@peculiar/x509'
import { describe, expect, test } from 'vitest'
import { createAuthority, issueCertificate, loadAuthority, renewRoot } from '../../src/identity/certificate.ts'
import { rootFingerprint } from '../../src/identity/join-token.ts'
import { readCertificate, trustDomainOf } from '../../src/identity/x509/certificate-reader.ts'
import { OptionsError } from '../../src/options/fields.ts'
import { newAuthority, newIdentity, newIntermediate, newKey, TRUST_DOMAIN } from '../rigs/certificates.ts'

const openssl = spawnSync('openssl', ['version']).status === 0
const ID = `spiffe://${TRUST_DOMAIN}/service/checkout`
const now = Date.now()
const period = { notBefore: now - 60_000, notAfter: now + 3_600_000 }

describe('an authority', () => {
  test('is a self-signed root for its trust domain that may do nothing but sign', () => {
    const authority = newAuthority()
    const root = new X509Certificate(authority.certificate)
    const facts = readCertificate(root.raw)
    expect(root.ca).toBe(true)
    expect(root.verify(root.publicKey)).toBe(true)
    expect(facts).toMatchObject({ uris: [`spiffe://${TRUST_DOMAIN}`], ca: true, keyUsage: [5, 6], unknownCritical: [] })
    expect(trustDomainOf(authority.certificate)).toBe(TRUST_DOMAIN)
    const basic = new oracle.X509Certificate(authority.certificate).getExtension(oracle.BasicConstraintsExtension)
    expect(basic).toMatchObject({ ca: true, pathLength: 1, critical: true })
  })

  test('comes back from its two texts, and only if they belong together', () => {
    const authority = newAuthority()
    expect(loadAuthority(authority)).toEqual(authority)
    const other = newAuthority()
    expect(() => loadAuthority({ ...authority, privateKey: other.privateKey })).toThrow(
      /privateKey: expected the key of/,
    )
    expect(() => loadAuthority({ ...authority, certificate: 'nonsense' })).toThrow(OptionsError)
    expect(() => loadAuthority({ ...authority, privateKey: 'nonsense' })).toThrow(/privateKey: expected a P-256 key/)
    const leaf = newIdentity(authority, 'checkout')
    expect(() => loadAuthority(leaf)).toThrow(/certificate: expected a CA certificate/)
  })

  test('renewed with its key keeps what it has signed, what pins it, and its name', () => {
    const root = newAuthority()
    const renewed = renewRoot(root, { notBefore: now, notAfter: now + 9e9 })
    expect(rootFingerprint(renewed.certificate)).toBe(rootFingerprint(root.certificate))
    expect(renewed.certificate).not.toBe(root.certificate)
    const leaf = new X509Certificate(newIdentity(root, 'checkout').certificate)
    expect(leaf.checkIssued(new X509Certificate(renewed.certificate))).toBe(true)
    expect(() => renewRoot(newIntermediate(root), period)).toThrow(/root: expected a root/)
  })

  test('names every mistake in its options', () => {
    expect(() => createAuthority({ trustDomain: 'Mesh!', notBefore: now, notAfter: now, commonName: '' })).toThrow(
      /trustDomain: .*; commonName: .*; notAfter: /,
    )
  })
})

describe('an issued certificate', () => {
  test('has one URI name, an empty subject, and the uses of a workload', () => {
    const authority = newAuthority()
    const { publicKey } = newKey()
    const pem = issueCertificate(authority, {
      publicKey,
      spiffeId: ID,
      dnsNames: ['checkout.mesh'],
      ipAddresses: ['127.0.0.1', '2001:db8::7:0:1', '::', '::ffff:10.0.0.1'],
      ...period,
    })
    const leaf = new X509Certificate(pem)
    const facts = readCertificate(leaf.raw)
    expect(facts).toMatchObject({
      uris: [ID],
      ca: false,
      keyUsage: [0],
      extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
      notBefore: Math.floor(period.notBefore / 1000) * 1000,
      notAfter: Math.floor(period.notAfter / 1000) * 1000,
    })
    expect(leaf.checkIssued(new X509Certificate(authority.certificate))).toBe(true)
    expect(leaf.publicKey.equals(publicKey)).toBe(true)
    for (const ip of ['127.0.0.1', '2001:db8::7:0:1', '::', '::ffff:10.0.0.1']) expect(leaf.checkIP(ip)).toBe(ip)
    expect(leaf.checkHost('checkout.mesh')).toBe('checkout.mesh')
    expect(leaf.checkHost('checkout')).toBeUndefined()
  })

  test('is read the same by another implementation, with the right parts critical', async () => {
    const authority = newAuthority()
    const leaf = new oracle.X509Certificate(newIdentity(authority, 'checkout').certificate)
    expect(leaf.subject).toBe('')
    expect(leaf.issuer).toBe(`CN=inmesh root of ${TRUST_DOMAIN}`)
    const names = leaf.getExtension(oracle.SubjectAlternativeNameExtension)
    expect(names?.critical).toBe(true)
    expect(names?.names.items.map((item) => [item.type, item.value])).toEqual([['url', ID]])
    const usage = leaf.getExtension(oracle.KeyUsagesExtension)
    expect(usage?.critical).toBe(true)
    expect(usage?.usages).toBe(oracle.KeyUsageFlags.digitalSignature)
    const root = new oracle.X509Certificate(authority.certificate)
    const keyId = root.getExtension(oracle.SubjectKeyIdentifierExtension)?.keyId
    expect(leaf.getExtension(oracle.AuthorityKeyIdentifierExtension)?.keyId).toBe(keyId)
    expect(await leaf.verify({ publicKey: root.publicKey, signatureOnly: true })).toBe(true)
  })

  test('has a positive serial of 16 bytes that no other has', () => {
    const authority = newAuthority()
    const serials = Array.from(
      { length: 50 },
      () => new X509Certificate(newIdentity(authority, 'a').certificate).serialNumber,
    )
    expect(new Set(serials).size).toBe(50)
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/)
  })

  test('never outlives its authority', () => {
    const authority = newAuthority()
    const options = { publicKey: newKey().publicKey, spiffeId: ID, notBefore: now, notAfter: now + 1e12 }
    const pem = issueCertificate(authority, options)
    expect(Date.parse(new X509Certificate(pem).validTo)).toBe(authority.notAfter)
  })

  test('is refused with every mistake named', () => {
    const authority = newAuthority()
    const { publicKey } = newKey()
    const issue = (change: object) => () =>
      issueCertificate(authority, { publicKey, spiffeId: ID, ...period, ...change })
    expect(issue({ spiffeId: 'spiffe://other.test/service/a' })).toThrow(/spiffeId: .* in trust domain mesh.test/)
    expect(issue({ spiffeId: `spiffe://${TRUST_DOMAIN}` })).toThrow(/spiffeId/)
    expect(issue({ publicKey: generateKeyPairSync('ed25519').publicKey })).toThrow(/publicKey: expected a P-256 key/)
    expect(issue({ dnsNames: ['ok', 'not ok'], ipAddresses: ['fe80::1%eth0'] })).toThrow(
      /dnsNames\[1\].*ipAddresses\[0\]/,
    )
    expect(issue({ notAfter: Number.NaN })).toThrow(/notAfter/)
  })

  test.skipIf(!openssl)(
    'passes openssl verify -x509_strict for both purposes (skipped where openssl is missing)',
    async () => {
      const directory = await mkdtemp(join(tmpdir(), 'inmesh-'))
      try {
        const authority = newAuthority()
        await writeFile(join(directory, 'root.pem'), authority.certificate)
        await writeFile(join(directory, 'leaf.pem'), newIdentity(authority, 'checkout').certificate)
        for (const purpose of ['sslserver', 'sslclient']) {
          const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'root.pem', 'leaf.pem']
          const { stdout } = await promisify(execFile)('openssl', args, { cwd: directory })
          expect(stdout).toContain('leaf.pem: OK')
        }
      } finally {
        await rm(directory, { recursive: true })
      }
    },
  )

  test('takes the public half of a private key object as well', () => {
    const { privateKey } = newKey()
    const pem = issueCertificate(newAuthority(), { publicKey: createPublicKey(privateKey), spiffeId: ID, ...period })
    expect(new X509Certificate(pem).checkPrivateKey(privateKey)).toBe(true)
  })
})
