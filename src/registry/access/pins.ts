/** The roots that tokens pin, by the fingerprints of their keys. */
export interface Pins {
  /** Of the root in use: new tokens pin it. */
  readonly fingerprint: string
  /** Of all trusted roots. */
  readonly pins: readonly string[]
}
