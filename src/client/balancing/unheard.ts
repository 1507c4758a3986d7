/** Which losers are picked all the same, because nothing has been heard of them for long. */
import type { Endpoint } from '../../core/endpoint.ts'

/**
 * An endpoint unheard of for so long is picked although it lost (go-zero: 1 s), in at most 2 % of
 * picks; a slow one later, because asking it costs a call that long. In the simulator's scenario
 * (a), 4 times its estimate costs 4 calls in 30 s, once 10.
 */
const UNHEARD_MS = 1_000
const UNHEARD_FACTOR = 4
const UNHEARD_AT_MOST_MS = 10_000
const FORCED_SHARE = 0.02

export class Unheard {
  readonly #unknown: boolean
  #credit = 0

  /** `unknown`: those that have never answered, too. */
  constructor(unknown: boolean) {
    this.#unknown = unknown
  }

  forces(loser: Endpoint, now: number): boolean {
    if (this.#credit < 1) this.#credit += FORCED_SHARE
    if (this.#credit < 1 || loser.oldest !== undefined || (loser.estimateMs === 0 && !this.#unknown)) return false
    if (now < loser.doubtedUntil) return false
    const patience = Math.min(UNHEARD_AT_MOST_MS, Math.max(UNHEARD_MS, UNHEARD_FACTOR * loser.estimateMs))
    if (now - loser.estimatedAt < patience) return false
    this.#credit = 0
    return true
  }
}
