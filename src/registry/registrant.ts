/** A process that registers instances, and the result of its leaving. */
export interface Registrant {
  readonly spiffeId: string
  readonly service: string
  /** The address it connects from. */
  readonly source: string
}

/** An instance that takes no more calls, or is gone. */
export interface Departure {
  /** As of which every new watcher knows it. */
  readonly revision: number
  /** The revision that wrote it. `undefined`: nothing was written. */
  readonly written: number | undefined
}
