/** The bytes of all streams together that a side takes before it credits more. */
export class ReceiveWindow {
  readonly #bytes: number
  #left: number
  #uncredited = 0

  constructor(bytes: number) {
    this.#bytes = this.#left = bytes
  }

  /** Bytes that no application has read. */
  get unread(): number {
    return this.#bytes - this.#left - this.#uncredited
  }

  /** False: the peer sends more than it was granted. */
  take(charge: number): boolean {
    this.#left -= charge
    return this.#left >= 0
  }

  /**
   * Bytes that were read; returns how many to credit now. Not before the peer may need them, but
   * always then: bytes that others leave unread never hold up all.
   */
  read(charge: number): number {
    this.#uncredited += charge
    if (this.#uncredited < this.#left) return 0
    const credit = this.#uncredited
    this.#left += credit
    this.#uncredited = 0
    return credit
  }
}
