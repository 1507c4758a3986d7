/**
 * Exact counts of good and bad outcomes over the last 10 s, in ten slices, without smoothing. There
 * is one for each endpoint, so it is small: a typed array of 80 bytes takes 200 more.
 */

const SLICES = 10
const SLICE_MS = 1_000

export class WindowedCounts {
  /** By slice. Those of bad outcomes are made with the first one. */
  readonly #totals: number[] = emptySlices()
  #bads: number[] | undefined = undefined
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
    this.#totals[at]! += 1
    this.#total += 1
    if (bad) {
      this.#bads ??= emptySlices()
      this.#bads[at]! += 1
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
    for (let i = 0; i < SLICES; i++) {
      this.#totals[i]! -= part.#totals[i]!
      if (this.#bads !== undefined && part.#bads !== undefined) this.#bads[i]! -= part.#bads[i]!
    }
    this.#total -= part.#total
    this.#bad -= part.#bad
  }

  clear(now: number): void {
    this.#totals.fill(0)
    this.#bads = undefined
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
      this.#total -= this.#totals[at]!
      this.#totals[at] = 0
      if (this.#bads === undefined) continue
      this.#bad -= this.#bads[at]!
      this.#bads[at] = 0
    }
    this.#slice = slice
    this.#place()
  }
}

function emptySlices(): number[] {
  return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
