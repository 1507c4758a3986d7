/**
 * Estimates how long a request takes at the present load, from good answers at a similar one
 * (Prequal, NSDI 2024). A mean over all would lag behind the load.
 */
import { insertSorted, medianOf } from '../core/sorted.ts'

/** The last good answers that are kept. Both numbers are flat optima in simulations. */
const SAMPLES = 64
/** Of these, the ones at the most similar load have a say. */
const NEAREST = 15
/** An answer at a load this close is not scaled: one request more or less, or this share. */
const CLOSE_SHARE = 0.25

export class LoadMeter {
  /** Requests of any caller from arrival to end; cancelled ones until their handlers are done. */
  inFlight = 0
  readonly #latencies = new Float64Array(SAMPLES)
  readonly #loads = new Float64Array(SAMPLES)
  #count = 0
  #next = 0
  readonly #distances = new Float64Array(SAMPLES)
  readonly #scaled = new Float64Array(NEAREST)

  /** A request arrives. Returns how many others are in flight, for {@link answered}. */
  arrived(): number {
    return this.inFlight++
  }

  /** A request ends without a good answer. */
  ended(): void {
    this.inFlight -= 1
  }

  /** A request ends with a good answer after `tookMs`; `others` were in flight at its arrival. */
  answered(others: number, tookMs: number): void {
    this.inFlight -= 1
    this.learn(others, tookMs)
  }

  /** A good answer is there, and its request ends later. */
  learn(others: number, tookMs: number): void {
    this.#latencies[this.#next] = tookMs
    this.#loads[this.#next] = others
    this.#next = (this.#next + 1) % SAMPLES
    if (this.#count < SAMPLES) this.#count += 1
  }

  /** How long a request would take that arrives now, in ms; 0: not known. */
  latencyMs(): number {
    const count = this.#count
    if (count === 0) return 0
    const load = this.inFlight
    const used = Math.min(NEAREST, count)
    const farthest = this.#nthDistance(load, used)
    const scaled = this.#scaled
    let filled = 0
    // Of those equally far, the latest.
    for (let pass = 0; pass < 2 && filled < used; pass++) {
      for (let i = 1; i <= count && filled < used; i++) {
        const at = (this.#next - i + SAMPLES) % SAMPLES
        const distance = Math.abs(this.#loads[at]! - load)
        if (pass === 0 ? distance >= farthest : distance !== farthest) continue
        insertSorted(scaled, filled++, this.#scale(at, load))
      }
    }
    return medianOf(scaled, used)
  }

  #scale(at: number, load: number): number {
    const then = this.#loads[at]!
    const latency = this.#latencies[at]!
    const close = Math.max(1, load * CLOSE_SHARE)
    return Math.abs(then - load) <= close ? latency : (latency * (load + 1)) / (then + 1)
  }

  /** The distance of the `n`th nearest. */
  #nthDistance(load: number, n: number): number {
    const distances = this.#distances
    let kept = 0
    for (let i = 0; i < this.#count; i++) {
      const distance = Math.abs(this.#loads[i]! - load)
      if (kept === n && distance >= distances[n - 1]!) continue
      insertSorted(distances, kept === n ? n - 1 : kept++, distance)
    }
    return distances[n - 1]!
  }
}
