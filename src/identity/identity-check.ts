/**
 * Makes an {@link Identity} only from parts that fit each other, wherever they come from.
 */
import { X509Certificate } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity } from './identity.ts'
import { readP256PrivateKey } from './key.ts'
import { PeerVerifier } from './peer-verifier.ts'
import { isTrustDomain, serviceId } from './spiffe-id.ts'
import { trustDomainOf } from './x509/certificate-reader.ts'

export interface IdentityParts {
  readonly service: string
  /** Default: the service's own; the registry gives its own. */
  readonly spiffeId?: string
  readonly trustDomain: string
  readonly privateKey: string
  readonly certificate: string
  readonly roots: readonly string[]
  readonly sequence: number
}

/** Bounds on what a registry or a file may give. */
const MOST_ROOTS = 64
const LONGEST_PEM = 64 * 1024

/** Throws a `MeshError` (`identity-rejected`) with the reason. */
export function makeIdentity(parts: IdentityParts, generation: number, clock: Clock): Identity {
  const { service, trustDomain, privateKey, certificate, roots, sequence } = parts
  const refuse = (why: string, cause?: unknown): never => {
    const message = `The identity for service '${service}' cannot be used: ${why}.`
    throw new MeshError(message, { code: 'identity-rejected', service, cause })
  }
  if (typeof trustDomain !== 'string' || !isTrustDomain(trustDomain)) return refuse('its trust domain is invalid')
  if (!Number.isSafeInteger(sequence) || sequence < 0) return refuse('the sequence of its trust bundle is invalid')
  if (typeof certificate !== 'string' || certificate.length > LONGEST_PEM) return refuse('its certificate is no text')
  const mistake = rootsMistake(roots, trustDomain)
  if (mistake !== undefined) return refuse(mistake)
  const key = readP256PrivateKey(privateKey) ?? refuse('its private key is no P-256 key')

  let x509: X509Certificate
  let verifier: PeerVerifier
  try {
    x509 = new X509Certificate(certificate)
    verifier = new PeerVerifier(clock, { trustDomain, roots, sequence })
  } catch (error) {
    return refuse(`its certificate cannot be read (${(error as Error).message})`, error)
  }
  if (!x509.checkPrivateKey(key)) return refuse('its certificate is for another key')
  const verdict = verifier.verifyId(x509.raw, parts.spiffeId ?? serviceId(trustDomain, service))
  if (!verdict.ok) return refuse(`${verdict.reason}: ${verdict.detail.replace(/\.$/, '')}`, verdict)
  return Object.freeze({
    spiffeId: verdict.spiffeId,
    trustDomain,
    service,
    privateKey,
    certificate,
    roots: Object.freeze([...roots]),
    sequence,
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    generation,
  })
}

/**
 * What is wrong with a trust bundle, in words; `undefined` if nothing is. An empty one is valid: it
 * trusts no peer.
 */
export function rootsMistake(roots: unknown, trustDomain: string): string | undefined {
  if (!Array.isArray(roots) || roots.length > MOST_ROOTS)
    return `its trust bundle is no list of at most ${MOST_ROOTS} roots`
  for (const root of roots as unknown[]) {
    if (typeof root !== 'string' || root.length > LONGEST_PEM) return 'its trust bundle holds something that is no root'
    const found = trustDomainOf(root)
    if (found === undefined) return 'its trust bundle holds something that is no root of a trust domain'
    if (found !== trustDomain) return `its trust bundle holds a root of another trust domain, ${found}`
  }
  return undefined
}
