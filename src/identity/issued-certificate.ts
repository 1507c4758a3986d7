/** A certificate and the trust bundle, as the issuer sends them. */
import type { TrustBundle } from './trust-bundle.ts'

export interface JoinResponse extends TrustBundle {
  /** PEM, leaf first, then the intermediates between it and its root. */
  readonly certificate: string
  readonly wallNow: number
  /** How many registries share the issuer's store; absent from an older one. */
  readonly registries?: number
}
