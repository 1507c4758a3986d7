/**
 * Verifies a peer's certificate by the SPIFFE rules, on clients and servers. Node accepts nearly
 * anything that a root signed.
 */
import { hash, X509Certificate } from 'node:crypto'
import { type CertificateTime, certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import { show } from '../options/fields.ts'
import { type Issuer, isSignedBy, issuersOf } from './issuers.ts'
import { parseSpiffeId, serviceId, serviceOf } from './spiffe-id.ts'
import { weaknessOf } from './strength.ts'
import { bundleOf, type OlderBundle, sameTexts, type TrustBundle } from './trust-bundle.ts'
import { KEY_USAGE, OID } from './x509/certificate-builder.ts'
import { type CertificateFacts, readCertificate } from './x509/certificate-reader.ts'

/** Why a peer was refused. Stable: events and metrics carry these words. */
export type PeerRefusal =
  | 'no-certificate'
  | 'malformed-certificate'
  | 'no-uri-name'
  | 'several-uri-names'
  | 'invalid-spiffe-id'
  | 'no-path'
  | 'foreign-trust-domain'
  | 'ca-certificate'
  | 'wrong-key-usage'
  | 'wrong-extended-key-usage'
  | 'weak-key'
  | 'untrusted-issuer'
  | 'not-yet-valid'
  | 'expired'
  | 'wrong-service'
  | 'denied'

export interface AcceptedPeer {
  readonly ok: true
  readonly spiffeId: string
  /** `undefined` for an identity that is no service, such as the registry's. */
  readonly service: string | undefined
  /** The end of its certificate, wall clock in ms. */
  readonly notAfter: number
}

export interface RefusedPeer {
  readonly ok: false
  readonly reason: PeerRefusal
  /** A sentence with values; what a stranger wrote is quoted and short. */
  readonly detail: string
}

export type PeerVerdict = AcceptedPeer | RefusedPeer

/**
 * Verified leaves that are remembered: one per peer process is plenty, and a stranger's is never
 * kept.
 */
const MOST_REMEMBERED = 1_024

interface Verified {
  readonly peer: AcceptedPeer
  /** The leaf's and those of the chain above it, whichever is narrower. */
  readonly notBefore: number
  readonly notAfter: number
}

export function refusePeer(reason: PeerRefusal, detail: string): RefusedPeer {
  return { ok: false, reason, detail }
}

export class PeerVerifier {
  readonly #clock: Clock
  readonly #time: CertificateTime
  #bundle: TrustBundle = { trustDomain: '', sequence: -1, roots: [], intermediates: [], denied: [] }
  #issuers: readonly Issuer[] = []
  #denied: ReadonlySet<string> = new Set()
  /** By the leaf's hash, least recently used first; belongs to one bundle. */
  readonly #verified = new Map<string, Verified>()

  constructor(clock: Clock, bundle: OlderBundle) {
    this.#clock = clock
    this.#time = certificateTimeOf(clock)
    this.setTrust(bundle)
  }

  /**
   * The next bundle; what was verified under the last one is forgotten. Throws if a root
   * cannot be read; then nothing changes.
   */
  setTrust(next: OlderBundle): void {
    const bundle = bundleOf(next)
    if (isSame(bundle, this.#bundle)) return
    this.#issuers = issuersOf(bundle)
    this.#denied = new Set(bundle.denied)
    this.#bundle = bundle
    this.#verified.clear()
  }

  /**
   * The wall clock leapt ahead a moment ago, and OpenSSL may call certificates expired that are
   * valid here.
   */
  get leapt(): boolean {
    return this.#time.leaptAt !== undefined
  }

  /** Whether an operator denied this identity, whatever its certificate. */
  denies(spiffeId: string): boolean {
    return this.#denied.has(spiffeId)
  }

  /** Whether the service is denied. Without one that is, this costs one comparison. */
  deniesService(service: string): boolean {
    return this.#denied.size > 0 && this.#denied.has(serviceId(this.#bundle.trustDomain, service))
  }

  /** Judges a leaf in DER. Never throws. */
  verify(raw: Uint8Array | undefined): PeerVerdict {
    if (raw === undefined || raw.length === 0) return refusePeer('no-certificate', 'The peer presented no certificate.')
    const key = hash('sha256', raw, 'base64')
    let verified = this.#verified.get(key)
    if (verified === undefined) {
      const fresh = this.#judge(raw)
      if ('ok' in fresh) return fresh
      verified = fresh
      if (this.#verified.size >= MOST_REMEMBERED) this.#verified.delete(this.#verified.keys().next().value!)
    } else this.#verified.delete(key)
    this.#verified.set(key, verified)

    const wallNow = this.#clock.wallNow()
    if (wallNow < verified.notBefore) {
      return refusePeer(
        'not-yet-valid',
        `The certificate of ${verified.peer.spiffeId} is valid from ${iso(verified.notBefore)}; our clock shows ${iso(wallNow)}.`,
      )
    }
    if (this.#time.now() > verified.notAfter) {
      return refusePeer(
        'expired',
        `The certificate of ${verified.peer.spiffeId} was valid until ${iso(verified.notAfter)}; our clock shows ${iso(wallNow)}.`,
      )
    }
    return verified.peer
  }

  /**
   * The same for a client that called `service`: every other identity is refused, however valid.
   */
  verifyService(raw: Uint8Array | undefined, service: string): PeerVerdict {
    const verdict = this.verify(raw)
    if (!verdict.ok || verdict.service === service) return verdict
    return refusePeer('wrong-service', `Service '${service}' was called, but ${verdict.spiffeId} answered.`)
  }

  /** The same for one exact identity. */
  verifyId(raw: Uint8Array | undefined, spiffeId: string): PeerVerdict {
    const verdict = this.verify(raw)
    if (!verdict.ok || verdict.spiffeId === spiffeId) return verdict
    return refusePeer('wrong-service', `${spiffeId} was called, but ${verdict.spiffeId} answered.`)
  }

  #judge(raw: Uint8Array): Verified | RefusedPeer {
    let leaf: X509Certificate
    let facts: CertificateFacts
    try {
      facts = readCertificate(raw)
      leaf = new X509Certificate(raw)
    } catch (error) {
      return refusePeer('malformed-certificate', `The certificate cannot be read: ${(error as Error).message}.`)
    }
    const mistake = this.#checkName(facts) ?? checkUse(facts)
    if (mistake !== undefined) return mistake
    const weakness = weaknessOf(leaf, facts)
    if (weakness !== undefined) return refusePeer('weak-key', weakness)
    const [spiffeId] = facts.uris as [string]
    const issuer = this.#issuers.find((one) => isSignedBy(leaf, one))
    if (issuer === undefined) {
      const { roots, intermediates } = this.#bundle
      const detail = `The certificate of ${spiffeId} was signed by none of the ${roots.length} roots and ${intermediates.length} intermediates of our trust bundle.`
      return refusePeer('untrusted-issuer', detail)
    }
    if (this.#denied.has(spiffeId)) return refusePeer('denied', `An operator denied ${spiffeId} all access.`)
    const notAfter = Math.min(facts.notAfter, issuer.notAfter)
    return {
      peer: { ok: true, spiffeId, service: serviceOf(spiffeId, this.#bundle.trustDomain), notAfter },
      notBefore: Math.max(facts.notBefore, issuer.notBefore),
      notAfter,
    }
  }

  #checkName({ uris }: CertificateFacts): RefusedPeer | undefined {
    const [uri] = uris
    if (uri === undefined) return refusePeer('no-uri-name', 'The certificate names nobody: it has no URI name.')
    if (uris.length > 1) {
      return refusePeer('several-uri-names', `The certificate has ${uris.length} URI names; exactly one is allowed.`)
    }
    const id = parseSpiffeId(uri)
    if (id === undefined) return refusePeer('invalid-spiffe-id', `The certificate's name ${show(uri)} is no SPIFFE ID.`)
    const { trustDomain } = this.#bundle
    if (id.trustDomain !== trustDomain) {
      const detail = `The certificate is of trust domain ${show(id.trustDomain)}, ours is ${show(trustDomain)}.`
      return refusePeer('foreign-trust-domain', detail)
    }
    if (id.path === '') return refusePeer('no-path', `${show(uri)} names a trust domain, not a workload.`)
    return undefined
  }
}

function checkUse({ ca, keyUsage, extendedKeyUsage, unknownCritical }: CertificateFacts): RefusedPeer | undefined {
  if (ca)
    return refusePeer(
      'ca-certificate',
      'The certificate is an authority (CA:TRUE), which may not speak for a workload.',
    )
  if (keyUsage === undefined || !keyUsage.includes(KEY_USAGE.digitalSignature)) {
    return refusePeer('wrong-key-usage', 'The certificate may not be used for digital signatures.')
  }
  if (keyUsage.includes(KEY_USAGE.keyCertSign) || keyUsage.includes(KEY_USAGE.crlSign)) {
    return refusePeer(
      'wrong-key-usage',
      'The certificate may sign certificates or revocation lists, which no workload may.',
    )
  }
  if (!extendedKeyUsage?.includes(OID.serverAuth) || !extendedKeyUsage.includes(OID.clientAuth)) {
    return refusePeer('wrong-extended-key-usage', 'The certificate is not for both servers and clients.')
  }
  if (unknownCritical.length > 0) {
    return refusePeer(
      'malformed-certificate',
      `The certificate has an unknown critical extension, ${unknownCritical[0]}.`,
    )
  }
  return undefined
}

function isSame(a: TrustBundle, b: TrustBundle): boolean {
  if (a.trustDomain !== b.trustDomain || a.sequence !== b.sequence) return false
  return sameTexts(a.roots, b.roots) && sameTexts(a.intermediates, b.intermediates) && sameTexts(a.denied, b.denied)
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
