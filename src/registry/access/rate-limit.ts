/**
 * Token buckets with a rate and a burst, one or one per source. The number of sources is bounded.
 */
import { type Clock, sleep } from '../../core/clock.ts'

/** Sources remembered; beyond it the one longest unseen is forgotten. */
const MOST_SOURCES = 10_000

interface Bucket {
  level: number
  at: number
}

export class RateLimit {
  readonly #perSecond: number
  readonly #burst: number
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(perSecond: number, burst: number, clock: Clock) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#clock = clock
  }

  /**
   * Takes one, and waits for its turn, in the order of asking. False at once if that is more than
   * `mostMs` away.
   */
  async takeInTurn(mostMs: number, source = ''): Promise<boolean> {
    const bucket = this.#refilled(source)
    const inMs = Math.max(0, ((1 - bucket.level) / this.#perSecond) * 1_000)
    if (inMs > mostMs) return false
    bucket.level -= 1
    if (inMs > 0) await sleep(this.#clock, inMs)
    return true
  }

  /** Whether {@link take} would take one now. */
  has(source = ''): boolean {
    return this.#refilled(source).level >= 1
  }

  /** Takes one, or returns false. */
  take(source = ''): boolean {
    const bucket = this.#refilled(source)
    if (bucket.level < 1) return false
    bucket.level -= 1
    return true
  }

  #refilled(source: string): Bucket {
    const now = this.#clock.now()
    const bucket = this.#buckets.get(source) ?? { level: this.#burst, at: now }
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    if (this.#buckets.size > MOST_SOURCES) this.#buckets.delete(this.#buckets.keys().next().value!)
    bucket.level = Math.min(this.#burst, bucket.level + ((now - bucket.at) / 1000) * this.#perSecond)
    bucket.at = now
    return bucket
  }
}
