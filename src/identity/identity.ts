/**
 * The identity of this process: one key, one X.509-SVID and the roots it trusts. Immutable; a
 * rotation makes another one.
 */
export interface Identity {
  /** `spiffe://<trust domain>/service/<name>`. */
  readonly spiffeId: string
  readonly trustDomain: string
  readonly service: string
  /** PEM, PKCS#8. Never logged, never dumped. */
  readonly privateKey: string
  /** PEM, leaf first. */
  readonly certificate: string
  /** PEM root certificates, one text each. */
  readonly roots: readonly string[]
  /** The trust bundle's sequence number. */
  readonly sequence: number
  /** Wall-clock instants, in ms. */
  readonly notBefore: number
  readonly notAfter: number
  /** Counts up with every rotation in this process; connections belong to one generation. */
  readonly generation: number
}

/** Holds the current identity and tells who depends on it of each rotation. */
export interface IdentitySource {
  readonly current: Identity
  /** Returns how to stop listening. A listener that throws harms no other listener. */
  onRotate(listener: (identity: Identity) => void): () => void
}
