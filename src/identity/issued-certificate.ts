/** A certificate as its issuer sends it. */
export interface JoinResponse {
  readonly trustDomain: string
  /** PEM, leaf first. */
  readonly certificate: string
  /** The trust bundle: PEM root certificates. */
  readonly roots: readonly string[]
  readonly sequence: number
  readonly wallNow: number
}
