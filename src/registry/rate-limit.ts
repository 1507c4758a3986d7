/** Token buckets: so many a second, and a burst; one, or one per source with a bounded number of sources. */
import type { Clock } from '../core/clock.ts'

/** Sources remembered; beyond it the one longest unseen is forgotten. */
const MOST_SOURCES = 10_000

export class RateLimit {
  readonly #perSecond: number
  readonly #burst: number
  readonly #clock: Clock
  readonly #buckets = new Map<string, { level: number; at: number }>()

  constructor(perSecond: number, burst: number, clock: Clock) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#clock = clock
  }

  /** Takes one, or returns false. */
  take(source = ''): boolean {
    const now = this.#clock.now()
    const bucket = this.#buckets.get(source) ?? { level: this.#burst, at: now }
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    if (this.#buckets.size > MOST_SOURCES) this.#buckets.delete(this.#buckets.keys().next().value!)
    bucket.level = Math.min(this.#burst, bucket.level + ((now - bucket.at) / 1000) * this.#perSecond)
    bucket.at = now
    if (bucket.level < 1) return false
    bucket.level -= 1
    return true
  }
}
