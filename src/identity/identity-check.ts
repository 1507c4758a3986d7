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
import { bundleMistake, bundleOf, frozenBundle, type OlderBundle } from './trust-bundle.ts'
import { readCertificatePem } from './x509/pem.ts'

export interface IdentityParts extends OlderBundle {
  readonly service: string
  /** Default: the service's own; the registry gives its own. */
  readonly spiffeId?: string
  readonly privateKey: string
  readonly certificate: string
}

/** Bounds on what a registry or a file may give. A leaf may have three intermediates. */
const MOST_IN_CHAIN = 4
const LONGEST_PEM = 64 * 1024

/** Throws a `MeshError` (`identity-rejected`) with the reason. */
export function makeIdentity(parts: IdentityParts, generation: number, clock: Clock): Identity {
  const { service, privateKey, certificate } = parts
  const bundle = bundleOf(parts)
  const { trustDomain } = bundle
  const refuse = (why: string, cause?: unknown): never => {
    const message = `The identity for service '${service}' cannot be used: ${why}.`
    throw new MeshError(message, { code: 'identity-rejected', service, cause })
  }
  if (typeof trustDomain !== 'string' || !isTrustDomain(trustDomain)) return refuse('its trust domain is invalid')
  if (typeof certificate !== 'string' || certificate.length > LONGEST_PEM) return refuse('its certificate is no text')
  const chain = readCertificatePem(certificate)
  if (chain === undefined || chain.length > MOST_IN_CHAIN) {
    return refuse(`its certificate cannot be read (expected 1 to ${MOST_IN_CHAIN} certificates in PEM)`)
  }
  const mistake = bundleMistake(bundle)
  if (mistake !== undefined) return refuse(mistake)
  const key = readP256PrivateKey(privateKey) ?? refuse('its private key is no P-256 key')

  let x509: X509Certificate
  let verifier: PeerVerifier
  try {
    const [leaf, ...rest] = chain.map((der) => new X509Certificate(der))
    if (!rest.every(({ ca }) => ca)) return refuse('its certificate is followed by one of no authority')
    x509 = leaf!
    verifier = new PeerVerifier(clock, bundle)
  } catch (error) {
    return refuse(`its certificate cannot be read (${(error as Error).message})`, error)
  }
  if (!x509.checkPrivateKey(key)) return refuse('its certificate is for another key')
  const verdict = verifier.verifyId(x509.raw, parts.spiffeId ?? serviceId(trustDomain, service))
  if (!verdict.ok) return refuse(`${verdict.reason}: ${verdict.detail.replace(/\.$/, '')}`, verdict)
  return Object.freeze({
    spiffeId: verdict.spiffeId,
    service,
    privateKey,
    certificate,
    ...frozenBundle(bundle),
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    generation,
  })
}
