/**
 * The pause before the next connection to a registry. It grows until a session has lasted, up to a
 * share of the lease, with full jitter: a thousand clients must not come back in one moment.
 */
const FIRST_MS = 100
const LONGEST_MS = 10_000
/** Of the lease: leaves time for a second attempt before the lease ends. */
const LONGEST_SHARE = 0.4
const LEAST_LONGEST_MS = 200

export class ReconnectPause {
  /** Since a session lasted. */
  #failures = 0
  #longestMs = LONGEST_MS
  /** What the registry asked for, once. */
  #askedMs = 0

  /** A registry has greeted us, which it may do and go away at once. */
  greeted(leaseMs: number): void {
    this.#longestMs = Math.min(LONGEST_MS, Math.max(LEAST_LONGEST_MS, leaseMs * LONGEST_SHARE))
  }

  /** The session has lasted for a heartbeat. */
  lasted(): void {
    this.#failures = 0
  }

  asked(ms: number): void {
    this.#askedMs = ms
  }

  /** In ms. `random`: from 0 to 1. */
  next(random: number): number {
    const bound = Math.min(this.#longestMs, FIRST_MS * 2 ** Math.min(this.#failures, 10))
    const pause = FIRST_MS / 2 + random * Math.max(bound, this.#askedMs)
    this.#failures += 1
    this.#askedMs = 0
    return pause
  }
}
