/** Draws an index with a probability proportional to its weight, in constant time (Vose 1991). */
export class AliasTable {
  readonly #keep: Float64Array
  readonly #alias: Uint32Array
  readonly #shares: Float64Array

  constructor(weights: ArrayLike<number>) {
    const size = weights.length
    let total = 0
    for (let i = 0; i < size; i++) total += weights[i]!
    const mean = total / size
    const shares = new Float64Array(size)
    const keep = new Float64Array(size)
    const alias = new Uint32Array(size)
    // Two stacks in one array: those below the mean grow from its start, the others from its end.
    const stacks = new Uint32Array(size)
    let small = 0
    let large = size
    for (let i = 0; i < size; i++) {
      const share = weights[i]! / mean
      shares[i] = share
      keep[i] = share
      alias[i] = i
      if (share < 1) stacks[small++] = i
      else stacks[--large] = i
    }
    while (small > 0 && large < size) {
      const less = stacks[--small]!
      const more = stacks[large]!
      alias[less] = more
      const left = keep[more]! - (1 - keep[less]!)
      keep[more] = left
      if (left >= 1) continue
      large += 1
      stacks[small++] = more
    }
    // The rest differs from 1 only by rounding.
    while (small > 0) keep[stacks[--small]!] = 1
    while (large < size) keep[stacks[large++]!] = 1
    this.#shares = shares
    this.#keep = keep
    this.#alias = alias
  }

  /** `random` in [0, 1). */
  draw(random: number): number {
    const scaled = random * this.#keep.length
    const at = Math.floor(scaled)
    return scaled - at < this.#keep[at]! ? at : this.#alias[at]!
  }

  /** The weight over the mean weight. */
  share(at: number): number {
    return this.#shares[at]!
  }
}
