import 'reflect-metadata'
import { execFile, spawnSync } from 'node:child_process'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { issueCertificate, loadAuthority } from '../../src/identity/certificate.ts'
import { createIntermediate, createIntermediateRequest, issueIntermediate } from '../../src/identity/intermediate.ts'
import { issuerMistake } from '../../src/identity/issuers.ts'
import { privateKeyPem } from '../../src/identity/key.ts'
import { readSigningRequest } from '../../src/identity/signing-request.ts'
import { readCertificate } from '../../src/identity/x509/certificate-reader.ts'
import { readCertificatePem } from '../../src/identity/x509/pem.ts'
import {
  craftIntermediate,
  newAuthority,
  newIdentity,
  newIntermediate,
  newKey,
  TRUST_DOMAIN,
} from '../rigs/certificates.ts'

const openssl = spawnSync('openssl', ['version']).status === 0
const run = promisify(execFile)
const now = Date.now()
const period = { notBefore: now - 60_000, notAfter: now + 3_600_000 }

describe('an intermediate', () => {
  test('is signed by its root, for its trust domain, and may sign leaves only', () => {
    const root = newAuthority()
    const intermediate = newIntermediate(root)
    const x509 = new X509Certificate(intermediate.certificate)
    expect(x509.checkIssued(new X509Certificate(root.certificate))).toBe(true)
    expect(x509.verify(new X509Certificate(root.certificate).publicKey)).toBe(true)
    expect(readCertificate(x509.raw)).toMatchObject({
      uris: [`spiffe://${TRUST_DOMAIN}`],
      ca: true,
      pathLength: 0,
      keyUsage: [5, 6],
      extendedKeyUsage: undefined,
    })
    expect(loadAuthority(intermediate)).toEqual(intermediate)
    expect(() => createIntermediate(intermediate, period)).toThrow(/authority: .*path length 0/)
  })

  test('never outlives its root', () => {
    const root = newAuthority()
    expect(createIntermediate(root, { notBefore: now, notAfter: now + 1e12 }).notAfter).toBe(root.notAfter)
  })

  test('has leaves that are sent with it', () => {
    const intermediate = newIntermediate(newAuthority())
    const { certificate } = newIdentity(intermediate, 'checkout')
    const chain = readCertificatePem(certificate)!.map((der) => new X509Certificate(der))
    expect(chain.map(({ ca }) => ca)).toEqual([false, true])
    expect(chain[1]!.raw.equals(new X509Certificate(intermediate.certificate).raw)).toBe(true)
    expect(chain[0]!.checkIssued(chain[1]!)).toBe(true)
  })

  test('comes of a request: its key counts, and no name of it', () => {
    const { privateKey, publicKey } = newKey()
    const request = createIntermediateRequest(privateKey, 'other.test')
    const root = newAuthority()
    const certificate = issueIntermediate(root, { ...period, publicKey: readSigningRequest(request) })
    const x509 = new X509Certificate(certificate)
    expect(x509.publicKey.equals(publicKey)).toBe(true)
    expect(x509.subject).toMatch(/^CN=inmesh intermediate [0-9a-f]{8} of mesh\.test$/)
    expect(readCertificate(x509.raw).uris).toEqual([`spiffe://${TRUST_DOMAIN}`])
    const { publicKey: edwards } = generateKeyPairSync('ed25519')
    expect(() => issueIntermediate(root, { ...period, publicKey: edwards })).toThrow(/publicKey: expected a P-256 key/)
    expect(() => issueIntermediate(root, { publicKey, notBefore: now, notAfter: now })).toThrow(/notAfter/)
  })

  test.skipIf(!openssl)('of an authority in openssl signs leaves that openssl and we accept', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'inmesh-'))
    const at = { cwd: directory }
    try {
      const { privateKey } = newKey()
      await writeFile(join(directory, 'request.pem'), createIntermediateRequest(privateKey, TRUST_DOMAIN))
      const subject = ['-subj', '/CN=company root', '-addext', `subjectAltName=URI:spiffe://${TRUST_DOMAIN}`]
      const uses = ['-addext', 'keyUsage=critical,keyCertSign', '-addext', 'basicConstraints=critical,CA:TRUE']
      const fresh = ['-newkey', 'rsa:2048', '-nodes', '-keyout', 'key.pem', '-out', 'root.pem', '-days', '2']
      await run('openssl', ['req', '-x509', ...fresh, ...subject, ...uses], at)
      const signed = ['-CA', 'root.pem', '-CAkey', 'key.pem', '-days', '1', '-out', 'intermediate.pem']
      await run('openssl', ['x509', '-req', '-in', 'request.pem', '-copy_extensions', 'copy', ...signed], at)
      const { stdout: certificate } = await run('openssl', ['x509', '-in', 'intermediate.pem'], at)
      const { stdout: root } = await run('openssl', ['x509', '-in', 'root.pem'], at)
      const intermediate = loadAuthority({ privateKey: privateKeyPem(privateKey), certificate })
      expect(
        issuerMistake(certificate, { trustDomain: TRUST_DOMAIN, roots: [root] }, Date.now() + 1_000),
      ).toBeUndefined()
      const spiffeId = `spiffe://${TRUST_DOMAIN}/service/checkout`
      const leaf = issueCertificate(intermediate, { publicKey: newKey().publicKey, spiffeId, ...period })
      await writeFile(join(directory, 'leaf.pem'), leaf)
      const check = ['-x509_strict', '-purpose', 'sslclient', '-CAfile', 'root.pem', '-untrusted', 'intermediate.pem']
      expect((await run('openssl', ['verify', ...check, 'leaf.pem'], at)).stdout).toContain('leaf.pem: OK')
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

describe('the mistake of an authority made elsewhere', () => {
  const root = newAuthority()
  const trust = { trustDomain: TRUST_DOMAIN, roots: [root.certificate] }
  const good = newIntermediate(root)

  test.each([
    ['no certificate', 'nonsense', /expected certificates in PEM/],
    ['words between the certificates', `${good.certificate}\nissuer=x\n${root.certificate}`, /only white space/],
    ['a leaf', newIdentity(root, 'checkout').certificate, /no authority/],
    ['no right to sign', craftIntermediate(root, { keyUsage: [0] }).certificate, /may not sign/],
    ['another trust domain', craftIntermediate(root, { uris: ['spiffe://other.test'] }).certificate, /other\.test/],
    ['the name of a workload', craftIntermediate(root, { uris: ['spiffe://mesh.test/registry'] }).certificate, /name/],
    ['another root', newIntermediate(newAuthority()).certificate, /no chain .* 1 roots/],
    ['an end in the past', craftIntermediate(root, { notAfter: now - 1_000 }).certificate, /valid until/],
    ['more links than its root allows', craftIntermediate(craftIntermediate(root)).chain.join(''), /no chain/],
  ])('is told: %s', (_, chain, mistake) => {
    expect(issuerMistake(chain, trust, now)).toMatch(mistake)
  })

  test("is none for one with its root behind it, and for one below a company's own", () => {
    expect(issuerMistake(good.certificate + root.certificate, trust, now)).toBeUndefined()
    expect(issuerMistake(root.certificate, trust, now)).toBeUndefined()
    const company = craftIntermediate(undefined, { pathLength: 'absent', commonName: 'company' })
    const above = craftIntermediate(company, { pathLength: 1, commonName: 'department' })
    const below = craftIntermediate(above)
    const roots = [company.certificate]
    expect(issuerMistake(below.chain.join(''), { ...trust, roots }, now)).toBeUndefined()
    expect(issuerMistake(below.certificate, { ...trust, roots }, now)).toMatch(/no chain/)
  })
})
