/**
 * Estimates how many requests per second are offered, whether they are admitted or not: the count
 * of the last two seconds, or since the demand has moved by more than chance explains.
 */

/** The nominal length of a sample. */
export const SAMPLE_MS = 100
/** Samples kept: two seconds balance noise and delay. */
const SAMPLES = 20
/** How many of the latest samples are compared with those before. */
const HORIZONS = [2, 5, 10]
/** Of these alone a rise is believed, where a share is too small. */
const RISE = 5
/** Standard deviations of a share's room for the usual fluctuation. What all claim is lost. */
const ROOM = 0.5
/** Standard deviations: one false alarm in a thousand comparisons. */
const DEVIATIONS = 3.3

export class DemandMeter {
  /** Requests since the last sample. Counted by the policy. */
  offered = 0
  readonly #counts = new Float64Array(SAMPLES)
  readonly #durations = new Float64Array(SAMPLES)
  #next = 0
  #size = 0

  /** Whether there was a request lately. */
  get isIdle(): boolean {
    return this.#sum(this.#counts, this.#size) === 0
  }

  /** Requests per second that a share should be for. `isShort`: it refuses requests now. */
  wanted(isShort: boolean): number {
    const count = this.#sum(this.#counts, this.#size)
    if (count === 0) return 0
    const usual = (count + ROOM * Math.sqrt(count)) / this.#sum(this.#durations, this.#size)
    if (!isShort) return usual * 1_000
    const latest = Math.min(RISE, this.#size)
    return Math.max(usual, this.#sum(this.#counts, latest) / this.#sum(this.#durations, latest)) * 1_000
  }

  /** Ends a sample of `ms`. Returns whether the demand has moved sharply. */
  sample(ms: number): boolean {
    const isFirst = this.#size === 0
    this.#counts[this.#next] = this.offered
    this.#durations[this.#next] = Math.max(ms, 1)
    this.offered = 0
    this.#next = (this.#next + 1) % SAMPLES
    this.#size = Math.min(this.#size + 1, SAMPLES)
    if (isFirst) return !this.isIdle
    for (const horizon of HORIZONS) {
      const latest = Math.min(horizon, this.#size - 1)
      if (!this.#hasMoved(latest)) continue
      this.#size = latest
      return true
    }
    return false
  }

  /** By Anscombe's transform, which makes small counts normal, too. Both counts vary by chance. */
  #hasMoved(samples: number): boolean {
    const ms = this.#sum(this.#durations, samples)
    const count = this.#sum(this.#counts, samples)
    const before = this.#sum(this.#counts, this.#size) - count
    const ratio = ms / (this.#sum(this.#durations, this.#size) - ms)
    const move = 2 * (Math.sqrt(count + 3 / 8) - Math.sqrt((before + 3 / 8) * ratio))
    return Math.abs(move) > DEVIATIONS * Math.sqrt(1 + ratio)
  }

  /** Of the latest samples. */
  #sum(values: Float64Array, samples: number): number {
    let sum = 0
    for (let i = 1; i <= samples; i++) sum += values[(this.#next - i + SAMPLES) % SAMPLES]!
    return sum
  }
}
