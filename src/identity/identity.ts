/**
 * The identity of this process: one key, one X.509-SVID and the trust bundle. Immutable; a
 * rotation makes another one.
 */
import { sameTexts, type TrustBundle } from './trust-bundle.ts'

export interface Identity extends TrustBundle {
  /** `spiffe://<trust domain>/service/<name>`. */
  readonly spiffeId: string
  readonly service: string
  /** PEM, PKCS#8. Never logged, never dumped. */
  readonly privateKey: string
  /** PEM, leaf first, then the intermediates between it and its root. */
  readonly certificate: string
  /** Wall-clock instants, in ms. */
  readonly notBefore: number
  readonly notAfter: number
  /**
   * Fingerprints of roots that the registry has replaced since this process joined: a join token
   * that pins one of them is of the same mesh.
   */
  readonly formerRoots?: readonly string[]
  /** Counts up with every rotation in this process; connections belong to one generation. */
  readonly generation: number
}

/**
 * Whether only the number of the bundle and its denied identities differ, so that connections of
 * either are as good as those of the other.
 */
export function isSameMaterial(a: Identity, b: Identity): boolean {
  if (a.privateKey !== b.privateKey || a.certificate !== b.certificate) return false
  return sameTexts(a.roots, b.roots) && sameTexts(a.intermediates, b.intermediates)
}

/** Holds the current identity and tells who depends on it of each rotation. */
export interface IdentitySource {
  readonly current: Identity
  /** Returns how to stop listening. A listener that throws harms no other listener. */
  onRotate(listener: (identity: Identity) => void): () => void
}
