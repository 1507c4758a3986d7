/**
 * Starts an attempt at one address after another, side by side (RFC 8305). The next one starts when
 * one has failed, or after {@link STAGGER_MS} without an answer.
 */
import type { Clock, Timer } from '../../core/clock.ts'

/** RFC 8305 section 8 allows 100 ms to 2 s; a TLS handshake is included here. */
export const STAGGER_MS = 300

export class StaggeredStart<A> {
  readonly #queue: A[]
  readonly #clock: Clock
  readonly #start: (address: A) => void
  #timer: Timer | undefined

  constructor(addresses: readonly A[], clock: Clock, start: (address: A) => void) {
    this.#queue = [...addresses]
    this.#clock = clock
    this.#start = start
  }

  /** Whether an attempt has started at every address, or none may any more. */
  get exhausted(): boolean {
    return this.#queue.length === 0
  }

  /** Starts the next attempt now: the first, or one in place of an attempt that has failed. */
  next(): void {
    this.#stopTimer()
    const address = this.#queue.shift()
    if (address === undefined) return
    if (!this.exhausted) this.#timer = this.#clock.startBackgroundTimer(STAGGER_MS, () => this.next(), undefined)
    this.#start(address)
  }

  /** Starts no further attempt: one has succeeded, or the search is over. */
  stop(): void {
    this.#queue.length = 0
    this.#stopTimer()
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}
