/**
 * xoroshiro64* (Blackman and Vigna 2018): random numbers that allocate nothing where `Math.random`
 * allocates a number each. Not for secrets.
 */
export class Xoroshiro {
  #a: number
  #b: number

  /** From two 32-bit integers that are not both 0. */
  constructor(a: number, b: number) {
    this.#a = a | 0
    this.#b = b | 0
  }

  /** With a seed of 63 random bits. */
  static seeded(): Xoroshiro {
    return new Xoroshiro((Math.random() * 2 ** 32) | 1, Math.random() * 2 ** 32)
  }

  /** The next number in [0, 1), of 32 bits. */
  next(): number {
    const a = this.#a
    const b = this.#b ^ a
    this.#a = ((a << 26) | (a >>> 6)) ^ b ^ (b << 9)
    this.#b = (b << 13) | (b >>> 19)
    return (Math.imul(a, 0x9e3779bb) >>> 0) / 2 ** 32
  }
}
