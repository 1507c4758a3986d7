/**
 * Reads the chain of an intermediate that was made elsewhere: its certificate first, then those
 * above it, its root last. Each mistake is one sentence.
 */
import { X509Certificate } from 'node:crypto'
import { issuerMistake } from '../../identity/issuers.ts'
import { isP256 } from '../../identity/key.ts'
import { trustDomainOf } from '../../identity/x509/certificate-reader.ts'
import { readCertificatePem } from '../../identity/x509/pem.ts'
import type { AuthorityRecord } from '../records.ts'
import { idOf, type Made } from './authority-records.ts'

/** The mistake in a chain or its key. */
export class ChainMistake extends Error {
  override readonly name = 'ChainMistake'
}

export interface IssuerChain {
  readonly trustDomain: string
  /** Without their keys. */
  readonly root: Made<AuthorityRecord>
  readonly intermediate: Made<AuthorityRecord>
}

/**
 * `trustDomain`: what it must be; `undefined`: whatever the root names.
 *
 * @throws ChainMistake
 */
export function readChain(pem: string, now: number, trustDomain: string | undefined): IssuerChain {
  const certificates = parse(pem)
  const root = certificates.at(-1)!
  if (!isSelfSigned(root)) {
    throw new ChainMistake(`the root is missing: append the certificate of '${nameOf(root.issuer)}' to the chain`)
  }
  if (certificates.length === 1) {
    throw new ChainMistake('it has a root alone: put the certificate of the intermediate before it')
  }
  const text = root.toString()
  const domain = trustDomainOf(text)
  const wanted = trustDomain ?? domain
  if (domain === undefined || domain !== wanted) {
    const got = domain === undefined ? 'none' : `spiffe://${domain}`
    const expected = wanted === undefined ? 'spiffe://<trust domain>' : `spiffe://${wanted}`
    throw new ChainMistake(`the root names ${got} as its trust domain, expected URI:${expected} (subjectAltName)`)
  }
  const above = certificates.slice(0, -1).map(String)
  if (trustDomainOf(above[0]!) !== domain) {
    throw new ChainMistake(`the intermediate does not name its trust domain, URI:spiffe://${domain} (subjectAltName)`)
  }
  const mistake = issuerMistake(above.join(''), { trustDomain: domain, roots: [text] }, now)
  if (mistake !== undefined) throw new ChainMistake(mistake)
  if (!isP256(certificates[0]!.publicKey)) {
    throw new ChainMistake('the key of the intermediate is not P-256, the only kind that signs certificates here')
  }
  const certificate = above.join('')
  const rootId = idOf(text)
  return {
    trustDomain: domain,
    root: { id: rootId, record: { trustDomain: domain, role: 'root', certificate: text, createdAt: now } },
    intermediate: {
      id: idOf(certificate),
      record: { trustDomain: domain, role: 'intermediate', root: rootId, certificate, createdAt: now },
    },
  }
}

/** The same chain below the root of the store that has the same key, if there is one. */
export function belowKnownRoot(chain: IssuerChain, known: string | undefined): IssuerChain {
  if (known === undefined) return chain
  const { root, intermediate } = chain
  return {
    ...chain,
    root: { ...root, id: known },
    intermediate: { ...intermediate, record: { ...intermediate.record, root: known } },
  }
}

function parse(pem: string): X509Certificate[] {
  const ders = readCertificatePem(pem)
  if (ders === undefined) throw new ChainMistake('expected certificates in PEM, and only white space around them')
  try {
    return ders.map((der) => new X509Certificate(der))
  } catch (error) {
    throw new ChainMistake(`a certificate cannot be read: ${(error as Error).message}`)
  }
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate)
}

function nameOf(name: string): string {
  return name.replaceAll('\n', ', ').slice(0, 200)
}
