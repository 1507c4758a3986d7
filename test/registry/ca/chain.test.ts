/** Chains of intermediates made elsewhere: which are taken, and the one error of the rest. */
import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority } from '../../../src/identity/certificate.ts'
import { createIntermediate, issueIntermediate } from '../../../src/identity/intermediate.ts'
import { ChainMistake, readChain } from '../../../src/registry/ca/chain.ts'
import { issuerFrom } from '../../../src/registry/ca/external-issuer.ts'
import { craftIntermediate, newAuthority, newKey, TRUST_DOMAIN } from '../../rigs/certificates.ts'

const now = Date.now()
const root = newAuthority(now)
const intermediate = createIntermediate(root, { notBefore: now - 60_000, notAfter: now + 3_600_000 })
const chain = intermediate.certificate + root.certificate

function mistake(pem: string, trustDomain: string | undefined = TRUST_DOMAIN): string {
  try {
    readChain(pem, now, trustDomain)
  } catch (error) {
    expect(error).toBeInstanceOf(ChainMistake)
    return (error as Error).message
  }
  return 'none'
}

test('an intermediate and its root are taken, and name their trust domain', () => {
  expect(readChain(chain, now, undefined)).toMatchObject({
    trustDomain: TRUST_DOMAIN,
    root: { record: { role: 'root', certificate: root.certificate } },
    intermediate: { record: { role: 'intermediate', certificate: intermediate.certificate } },
  })
  expect(issuerFrom(readChain(chain, now, undefined), intermediate.privateKey).authority.trustDomain).toBe(TRUST_DOMAIN)
})

test('two intermediates above one another are taken', () => {
  const upper = craftIntermediate(craftRoot(), { pathLength: 1, commonName: 'upper' })
  const lower = craftIntermediate(upper, { commonName: 'lower' })
  expect(mistake(lower.certificate + upper.certificate + craftRoot().certificate)).toBe('none')
})

let made: ReturnType<typeof craftIntermediate> | undefined
function craftRoot(): ReturnType<typeof craftIntermediate> {
  made ??= craftIntermediate(undefined, { pathLength: 'absent', commonName: 'top' })
  return made
}

test('each mistake has one clear sentence', () => {
  const other = newAuthority(now)
  const foreign = createAuthority({ trustDomain: 'other.test', notBefore: now - 1_000, notAfter: now + 3_600_000 })
  const wide = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const crafted = (choices: Parameters<typeof craftIntermediate>[1]): string =>
    craftIntermediate(root, choices).certificate + root.certificate
  expect(mistake('nonsense')).toMatch(/expected certificates in PEM/)
  expect(mistake('')).toMatch(/expected certificates in PEM/)
  expect(mistake(intermediate.certificate)).toMatch(
    /^the root is missing: append the certificate of 'CN=inmesh root of/,
  )
  expect(mistake(root.certificate)).toMatch(/^it has a root alone/)
  expect(mistake(intermediate.certificate + other.certificate)).toMatch(/no chain of these certificates leads/)
  expect(mistake(chain, 'shop.example')).toMatch(/names spiffe:\/\/mesh.test .* expected URI:spiffe:\/\/shop.example/)
  expect(mistake(intermediate.certificate + foreign.certificate)).toMatch(/expected URI:spiffe:\/\/mesh.test/)
  expect(mistake(crafted({ ca: false }))).toMatch(/no authority \(CA:TRUE\)/)
  expect(mistake(crafted({ uris: [] }))).toMatch(/does not name its trust domain, URI:spiffe:\/\/mesh.test/)
  expect(mistake(crafted({ uris: ['spiffe://other.test'] }))).toMatch(/does not name its trust domain/)
  expect(mistake(crafted({ keyUsage: [0] }))).toMatch(/may not sign certificates/)
  expect(mistake(crafted({ notAfter: now - 1_000 }))).toMatch(/it was valid until/)
  expect(mistake(crafted({ notBefore: now + 60_000 }))).toMatch(/it is valid from/)
  expect(() => issueIntermediate(root, { publicKey: wide.publicKey, notBefore: now, notAfter: now + 1e6 })).toThrow(
    'P-256',
  )
  expect(mistake(crafted({ key: wide as never }))).toMatch(/not P-256/)
  expect(() => issuerFrom(readChain(chain, now, undefined), root.privateKey)).toThrow(/is for another key/)
  expect(newKey()).toBeDefined()
})
