/**
 * The mean latency of the last answers of some endpoints together, and how many answers it rests
 * on: fewer leave more to chance.
 */

export class RecentLatency {
  /** In ms; 0 before the first answer. Without new answers it stays. */
  meanMs = 0
  /** Those that are older count in part. */
  answers = 0
  readonly #most: number
  readonly #memoryMs: number
  #sumMs = 0
  /** The totals so far. */
  #total = 0
  #totalMs = 0
  #at = 0

  /** Of `most` answers at most, with the time constant `memoryMs`. */
  constructor(most: number, memoryMs: number) {
    this.#most = most
    this.#memoryMs = memoryMs
  }

  /** The totals are those of other endpoints from now on. */
  rebase(total: number, totalMs: number): void {
    this.#total = total
    this.#totalMs = totalMs
  }

  /** Takes over what has come to the totals of the endpoints. Returns how many answers that is. */
  follow(total: number, totalMs: number, now: number): number {
    const fresh = total - this.#total
    const room = Math.max(0, this.#most - fresh) / Math.max(1, this.answers)
    const kept = Math.min(room, Math.exp((this.#at - now) / this.#memoryMs))
    this.answers = this.answers * kept + fresh
    this.#sumMs = this.#sumMs * kept + totalMs - this.#totalMs
    this.#at = now
    this.rebase(total, totalMs)
    if (fresh > 0) this.meanMs = this.#sumMs / this.answers
    return fresh
  }
}
