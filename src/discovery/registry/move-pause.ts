/**
 * When a process that its registry sends away opens a session elsewhere. Registries that send it
 * away again and again wait longer each time, so that none of them can keep it moving.
 */
const FIRST_MS = 500
const LONGEST_MS = 60_000
/** Two requests to move that lie further apart have nothing to do with each other. */
const CALM_MS = 60_000
/** Searches for another registry, until the process is asked again. */
const MOST_ATTEMPTS = 3

export class MovePause {
  #askedAt = Number.NEGATIVE_INFINITY
  /** Requests in a row. */
  #asked = 0
  #failures = 0

  /** The ms until the move begins. `now`: monotonic; `random`: from 0 to 1. */
  asked(retryAfterMs: number, now: number, random: number): number {
    if (now - this.#askedAt > CALM_MS) this.#asked = 0
    this.#askedAt = now
    this.#failures = 0
    const again = this.#asked === 0 ? 0 : Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(this.#asked - 1, 10))
    this.#asked += 1
    return random * retryAfterMs + again * (0.5 + 0.5 * random)
  }

  /** No other registry answers. The ms until the next search; `undefined`: the process stays. */
  failed(random: number): number | undefined {
    this.#failures += 1
    if (this.#failures >= MOST_ATTEMPTS) return undefined
    return FIRST_MS * 2 ** this.#failures * (0.5 + 0.5 * random)
  }
}
