/** What came of the calls of one run. */
export class Summary {
  readonly #durations: number[] = []
  total = 0
  failed = 0
  attempts = 0

  add(good: boolean, ms: number, attempts: number): void {
    this.total += 1
    this.attempts += attempts
    if (good) this.#durations.push(ms)
    else this.failed += 1
  }

  get good(): number {
    return this.total - this.failed
  }

  /** In percent. */
  get success(): number {
    return (100 * (this.total - this.failed)) / this.total
  }

  /** Of the good ones, in ms. */
  percentile(share: number): number {
    const sorted = this.#durations.sort((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
  }
}
