/**
 * Who may sign leaves under a trust bundle: its roots, and those of its intermediates that a chain
 * of the bundle's own certificates leads to (RFC 5280 6.1, without name constraints).
 */
import { X509Certificate } from 'node:crypto'
import { show } from '../options/fields.ts'
import { authorityId } from './spiffe-id.ts'
import { weaknessOf } from './strength.ts'
import type { OlderBundle } from './trust-bundle.ts'
import { KEY_USAGE, OID } from './x509/certificate-builder.ts'
import { type CertificateFacts, readCertificate } from './x509/certificate-reader.ts'
import { readCertificatePem } from './x509/pem.ts'

export interface Issuer {
  readonly x509: X509Certificate
  /** Its own and those of the chain above it, whichever is narrower. */
  readonly notBefore: number
  readonly notAfter: number
  /** How many authorities may stand below it. */
  readonly below: number
}

/** Root, two intermediates, leaf: enough for an authority below a company's own. */
const MOST_INTERMEDIATES_IN_CHAIN = 3

/**
 * The one that lives longest comes first: of a root that was renewed with its key, both may have
 * signed a leaf. Throws if a root cannot be read.
 */
export function issuersOf({ trustDomain, roots, intermediates = [] }: OlderBundle): readonly Issuer[] {
  const issuers = roots.flatMap((pem): Issuer[] => {
    const x509 = new X509Certificate(pem)
    const facts = readCertificate(x509.raw)
    if (!x509.ca) return []
    return [{ x509, notBefore: facts.notBefore, notAfter: facts.notAfter, below: facts.pathLength ?? Infinity }]
  })
  let waiting = intermediates.flatMap((pem) => candidatesIn(pem, trustDomain))
  let above: readonly Issuer[] = issuers
  for (let depth = 0; depth < MOST_INTERMEDIATES_IN_CHAIN && above.length > 0; depth++) {
    const found: Issuer[] = []
    const left: Candidate[] = []
    for (const candidate of waiting) {
      const issuer = byLife(above).find((one) => one.below > 0 && isSignedBy(candidate.x509, one))
      if (issuer === undefined) left.push(candidate)
      else found.push(below(issuer, candidate))
    }
    issuers.push(...found)
    above = found
    waiting = left
  }
  return byLife(issuers)
}

/** Whether `issuer` signed this certificate. Never throws. */
export function isSignedBy(x509: X509Certificate, issuer: Issuer): boolean {
  try {
    return x509.checkIssued(issuer.x509) && x509.verify(issuer.x509.publicKey)
  } catch {
    return false
  }
}

interface Candidate {
  readonly x509: X509Certificate
  readonly facts: CertificateFacts
}

/** An intermediate that is damaged, or may not sign, harms no other; it counts for nothing. */
function candidatesIn(pem: string, trustDomain: string): Candidate[] {
  try {
    const x509 = new X509Certificate(pem)
    const facts = readCertificate(x509.raw)
    return signingMistake(x509, facts, trustDomain) === undefined ? [{ x509, facts }] : []
  } catch {
    return []
  }
}

function below(issuer: Issuer, { x509, facts }: Candidate): Issuer {
  return {
    x509,
    notBefore: Math.max(facts.notBefore, issuer.notBefore),
    notAfter: Math.min(facts.notAfter, issuer.notAfter),
    below: Math.min(issuer.below - 1, facts.pathLength ?? Infinity),
  }
}

/**
 * Why leaves of an authority would not verify: the first certificate of `chain` (PEM) is the
 * authority's, those up to its root follow. `undefined` if they would, at `now` on the wall clock.
 */
export function issuerMistake(
  chain: string,
  { trustDomain, roots }: Pick<OlderBundle, 'trustDomain' | 'roots'>,
  now: number,
): string | undefined {
  const read = readCertificatePem(chain)
  if (read === undefined) return 'expected certificates in PEM, and only white space around them'
  let intermediates: X509Certificate[]
  try {
    intermediates = read.map((der) => new X509Certificate(der)).filter((one) => !one.checkIssued(one))
    for (const x509 of intermediates) {
      const mistake = signingMistake(x509, readCertificate(x509.raw), trustDomain)
      if (mistake !== undefined) return `${mistake} (${x509.subject})`
    }
  } catch (error) {
    return `a certificate cannot be read: ${(error as Error).message}`
  }
  const texts = intermediates.map((one) => one.toString())
  const issuers = issuersOf({ trustDomain, roots, sequence: 0, intermediates: texts })
  const [first] = read as [Buffer]
  const found = issuers.find(({ x509 }) => x509.raw.equals(first))
  if (found === undefined) {
    return `no chain of these certificates leads from the first one to one of the ${roots.length} roots`
  }
  if (now < found.notBefore) return `it is valid from ${new Date(found.notBefore).toISOString()}`
  return now < found.notAfter ? undefined : `it was valid until ${new Date(found.notAfter).toISOString()}`
}

function signingMistake(x509: X509Certificate, facts: CertificateFacts, trustDomain: string): string | undefined {
  const { ca, keyUsage, extendedKeyUsage, uris, unknownCritical } = facts
  if (!ca) return 'a certificate is no authority (CA:TRUE)'
  if (keyUsage?.includes(KEY_USAGE.keyCertSign) !== true || !x509.ca) return 'an authority may not sign certificates'
  // SPIFFE X509-SVID 3.1: a signing certificate need not name its trust domain.
  if (uris.length > 1 || (uris.length === 1 && uris[0] !== authorityId(trustDomain))) {
    return `an authority has the name ${show(uris[0])}, expected '${authorityId(trustDomain)}' or none`
  }
  const purposes = [OID.serverAuth, OID.clientAuth]
  if (extendedKeyUsage !== undefined && !purposes.every((one) => extendedKeyUsage.includes(one))) {
    return 'an authority is not for both servers and clients'
  }
  if (unknownCritical.length > 0) return `an authority has an unknown critical extension, ${unknownCritical[0]}`
  return weaknessOf(x509, facts)
}

function byLife(issuers: readonly Issuer[]): readonly Issuer[] {
  return [...issuers].sort((a, b) => b.notAfter - a.notAfter)
}
