/**
 * Makes an {@link Identity} only from parts that fit each other, wherever they come from.
 */
import { X509Certificate } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity } from './identity.ts'
import { rootFingerprint } from './join-token.ts'
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
  readonly formerRoots?: readonly string[] | undefined
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
  if (!areFingerprints(parts.formerRoots ?? [])) return refuse('its former roots are no fingerprints')
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
    ...(parts.formerRoots !== undefined && { formerRoots: Object.freeze([...parts.formerRoots]) }),
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    generation,
  })
}

/** After this many rotations of the root, a token that pins the first is worth nothing. */
const MOST_FORMER_ROOTS = 16
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/

function areFingerprints(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length <= MOST_FORMER_ROOTS && value.every((one) => FINGERPRINT.test(String(one)))
  )
}

/** The former roots of the identity that follows `before` under a bundle with `roots`. */
export function formerRoots(before: Identity, roots: readonly string[]): { readonly formerRoots?: readonly string[] } {
  const now = new Set(roots.map((root) => rootFingerprint(root)))
  const gone = before.roots.map((root) => rootFingerprint(root)).filter((one) => !now.has(one))
  const all = [...new Set([...(before.formerRoots ?? []), ...gone])].slice(-MOST_FORMER_ROOTS)
  return all.length === 0 ? {} : { formerRoots: Object.freeze(all) }
}

/** Whether `fingerprint` is of a root that this identity has, or had before it was replaced. */
export function isUnderRoot({ roots, formerRoots = [] }: Identity, fingerprint: string): boolean {
  return formerRoots.includes(fingerprint) || roots.some((root) => rootFingerprint(root) === fingerprint)
}
