/**
 * The trust bundle: which certificates a trust domain signs with, and whom it refuses. The registry
 * is its only source; a certificate that a peer presents never adds to it.
 */
import { X509Certificate } from 'node:crypto'
import { parseSpiffeId } from './spiffe-id.ts'
import { readCertificate, trustDomainOf } from './x509/certificate-reader.ts'
import { readCertificatePem } from './x509/pem.ts'

export interface TrustBundle {
  readonly trustDomain: string
  /** Counts up with every change, of whatever part. */
  readonly sequence: number
  /** PEM root certificates, one text each; none means that no peer is trusted. */
  readonly roots: readonly string[]
  /** PEM certificates of the intermediates that sign leaves, one text each. */
  readonly intermediates: readonly string[]
  /** SPIFFE ids that every verifier refuses, however valid their certificates are. */
  readonly denied: readonly string[]
}

/** Bounds on a bundle, wherever it comes from. */
export const BUNDLE_LIMITS = Object.freeze({ roots: 32, intermediates: 32, denied: 1_000, pemBytes: 16 * 1024 })

/** The bundle alone, of anything that has one. The lists of an older form default to empty. */
export function bundleOf(parts: OlderBundle): TrustBundle {
  const { trustDomain, sequence, roots, intermediates = [], denied = [] } = parts
  return { trustDomain, sequence, roots, intermediates, denied }
}

/** A copy that nothing can change. */
export function frozenBundle(bundle: TrustBundle): TrustBundle {
  const { roots, intermediates, denied } = bundle
  return {
    ...bundleOf(bundle),
    roots: Object.freeze([...roots]),
    intermediates: Object.freeze([...intermediates]),
    denied: Object.freeze([...denied]),
  }
}

/** Whether two lists of a bundle are the same, in the same order. */
export function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i])
}

/** A bundle of a version that knew only roots. */
export type OlderBundle = Omit<TrustBundle, 'intermediates' | 'denied'> & Partial<TrustBundle>

/**
 * The mistake in a bundle of unknown origin, in words; `undefined` if there is none. A bundle
 * without roots is valid: it trusts no peer.
 */
export function bundleMistake(bundle: TrustBundle): string | undefined {
  const { trustDomain, sequence, roots, intermediates, denied } = bundle
  if (!Number.isSafeInteger(sequence) || sequence < 0) return 'the sequence of its trust bundle is invalid'
  return (
    listMistake(roots, 'roots', (root) => rootMistake(root, trustDomain)) ??
    listMistake(intermediates, 'intermediates', intermediateMistake) ??
    listMistake(denied, 'denied', deniedMistake)
  )
}

function listMistake(
  list: unknown,
  name: 'roots' | 'intermediates' | 'denied',
  mistakeOf: (entry: string) => string | undefined,
): string | undefined {
  const most = BUNDLE_LIMITS[name]
  if (!Array.isArray(list) || list.length > most) return `its trust bundle has no list '${name}' of at most ${most}`
  for (const entry of list as unknown[]) {
    const wrong = typeof entry !== 'string' || entry.length > BUNDLE_LIMITS.pemBytes
    const mistake = wrong ? `an entry of '${name}' that is no short text` : mistakeOf(entry)
    if (mistake !== undefined) return `its trust bundle holds ${mistake}`
  }
  return undefined
}

function rootMistake(root: string, trustDomain: string): string | undefined {
  const found = isCertificate(root) ? trustDomainOf(root) : undefined
  if (found === undefined) return 'something that is no root of a trust domain'
  return found === trustDomain ? undefined : `a root of another trust domain, ${found}`
}

/** Only its form: an intermediate that no root signed is of no use, and harms no other. */
function intermediateMistake(intermediate: string): string | undefined {
  return isCertificate(intermediate) ? undefined : 'something that is no intermediate certificate'
}

/** Exactly one, which both our reader and OpenSSL can read: TLS options are made of it later. */
function isCertificate(pem: string): boolean {
  const ders = readCertificatePem(pem)
  if (ders?.length !== 1) return false
  try {
    readCertificate(ders[0]!)
    return new X509Certificate(ders[0]!).raw.length > 0
  } catch {
    return false
  }
}

function deniedMistake(id: string): string | undefined {
  return parseSpiffeId(id) === undefined ? 'a denied identity that is no SPIFFE id' : undefined
}
