/**
 * What the simulated world draws, apart from the chances of the policies, so that every policy
 * meets the same load.
 */
import { seededRandom } from '../testing/fake-clock.ts'

export class Chance {
  readonly random: () => number

  constructor(seed: number) {
    // Neighbouring seeds of the generator give related first draws.
    this.random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995)
    this.random()
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.random()
  }

  integer(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1))
  }

  oneOf<T>(values: readonly T[]): T {
    return values[Math.floor(this.random() * values.length)]!
  }

  /** `true` in a share of cases. */
  happens(share: number): boolean {
    return this.random() < share
  }

  /** The pause between arrivals that know nothing of each other. */
  exponential(mean: number): number {
    return -Math.log(1 - this.random()) * mean
  }

  /** Never below a tenth of the mean, because nothing is served in no time. */
  normal(mean: number, deviation: number): number {
    return Math.max(mean / 10, mean + deviation * this.#standardNormal())
  }

  /** Drawn again while it is negative, then scaled to the mean: its deviation is 0.8 of that. */
  positiveNormal(mean: number): number {
    for (;;) {
      const drawn = 1 + this.#standardNormal()
      if (drawn > 0) return (mean * drawn) / 1.2876
    }
  }

  logNormal(mean: number, sigma: number): number {
    return mean * Math.exp(sigma * this.#standardNormal() - (sigma * sigma) / 2)
  }

  /** Box and Muller 1958. */
  #standardNormal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.random()))
    return radius * Math.cos(2 * Math.PI * this.random())
  }
}
