/** Exact counts of good and bad outcomes over the last 10 s, in ten slices, without smoothing. */

const SLICES = 10
const SLICE_MS = 1_000

export class WindowedCounts {
  /** Totals first, then the bad ones. */
  readonly #counts = new Uint32Array(SLICES * 2)
  #slice: number
  /** Of the slice: its place, and when it ends. One comparison is all that most calls pay. */
  #at = 0
  #endsAt = 0
  #total = 0
  #bad = 0

  constructor(now: number) {
    this.#slice = Math.floor(now / SLICE_MS)
    this.#place()
  }

  add(now: number, bad: boolean): void {
    this.#turn(now)
    const at = this.#at
    this.#counts[at]! += 1
    this.#total += 1
    if (bad) {
      this.#counts[SLICES + at]! += 1
      this.#bad += 1
    }
  }

  total(now: number): number {
    this.#turn(now)
    return this.#total
  }

  bad(now: number): number {
    this.#turn(now)
    return this.#bad
  }

  /** Takes out what `part` counts, which was counted here, too. */
  subtract(part: WindowedCounts, now: number): void {
    this.#turn(now)
    part.#turn(now)
    for (let i = 0; i < this.#counts.length; i++) this.#counts[i]! -= part.#counts[i]!
    this.#total -= part.#total
    this.#bad -= part.#bad
  }

  clear(now: number): void {
    this.#counts.fill(0)
    this.#total = 0
    this.#bad = 0
    this.#slice = Math.floor(now / SLICE_MS)
    this.#place()
  }

  #place(): void {
    this.#at = this.#slice % SLICES
    this.#endsAt = (this.#slice + 1) * SLICE_MS
  }

  #turn(now: number): void {
    if (now < this.#endsAt) return
    const slice = Math.floor(now / SLICE_MS)
    if (slice - this.#slice >= SLICES) {
      this.clear(now)
      return
    }
    for (let s = this.#slice + 1; s <= slice; s++) {
      const at = s % SLICES
      this.#total -= this.#counts[at]!
      this.#bad -= this.#counts[SLICES + at]!
      this.#counts[at] = 0
      this.#counts[SLICES + at] = 0
    }
    this.#slice = slice
    this.#place()
  }
}
