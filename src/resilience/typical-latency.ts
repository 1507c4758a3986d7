/** How long a service's answers and stream heads recently took, and how long is too long. */

/** Twice the slowest recent answer: a shorter bound may be missed by chance. */
const CLEARLY = 2
/** A garbage collection or a scheduler's pause on either side takes tens of ms. */
const ENOUGH_AT_LEAST_MS = 50
/**
 * With each answer the slowest one loses this share of its lead: after a hundred faster ones it is
 * forgotten.
 */
const FORGETTING = 1 / 32
/**
 * The slowest recent time. It fades with each faster answer and never with time, so a hang does not
 * erase it.
 */
class Slowest {
  #ms = 0

  get ms(): number {
    return this.#ms
  }

  learn(ms: number): void {
    if (ms > this.#ms) this.#ms = ms
    else this.#ms -= (this.#ms - ms) * FORGETTING
  }

  get enoughMs(): number {
    return this.#ms === 0 ? Number.POSITIVE_INFINITY : Math.max(ENOUGH_AT_LEAST_MS, CLEARLY * this.#ms)
  }
}

/** One per service or function. */
export class TypicalLatency {
  readonly #answers = new Slowest()
  readonly #heads = new Slowest()

  learn(ms: number): void {
    this.#answers.learn(ms)
  }

  /** The slowest recent answer; 0 before the first. */
  get slowestMs(): number {
    return this.#answers.ms
  }

  /** The same for the heads of streams. */
  get slowestHeadMs(): number {
    return this.#heads.ms
  }

  /** A stream began after `ms`. */
  learnHead(ms: number): void {
    this.#heads.learn(ms)
  }

  /** A silence longer than this is a fault of the peer; Infinity before the first answer. */
  get enoughMs(): number {
    return this.#answers.enoughMs
  }

  /** The same for the head of a stream; before the first one, as {@link enoughMs}. */
  get enoughForHeadMs(): number {
    const ms = this.#heads.enoughMs
    return ms === Number.POSITIVE_INFINITY ? this.enoughMs : ms
  }
}
