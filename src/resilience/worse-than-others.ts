/**
 * Decides early whether an endpoint fails more often than the others: Page's cumulative sum (1954)
 * of what each outcome says for it and against it.
 */

/** The sum that convinces: by chance, fewer than one failure in 1,000 leads there. */
const CONVINCING = Math.log(1_000)
/** An endpoint that was ejected before needs less. */
const CONVINCING_AGAIN = Math.log(200)
/** Where the others fail, too, chance has more occasions, and a better choice is worth less. */
const CAUTION = 5
const FEWEST = 3
const FEWEST_AGAIN = 2
/** Failures further apart have nothing to do with each other. */
const LONGEST_MS = 30_000

export class WorseThanOthers {
  #sum = 0
  /** What a good answer takes off. */
  #relief = 0
  /** Since the sum was last 0. */
  #bad = 0
  #total = 0
  #since = 0

  answered(): void {
    if (this.#sum === 0) return
    this.#total += 1
    this.#sum -= this.#relief
    if (this.#sum <= 0) this.clear()
  }

  /**
   * It failed, while the others fail with the share `usual`, and `worse` would set it apart.
   * Returns whether it does so by now.
   */
  failed(now: number, usual: number, worse: number, before: boolean): boolean {
    if (now - this.#since > LONGEST_MS) this.clear()
    if (this.#sum === 0) this.#since = now
    this.#sum += Math.log(worse / usual)
    this.#relief = Math.log((1 - usual) / (1 - worse))
    this.#bad += 1
    this.#total += 1
    const convincing = (before ? CONVINCING_AGAIN : CONVINCING) * (1 + CAUTION * usual)
    // The first failure is why we look, and no evidence.
    const isOften = this.#bad - 1 >= worse * (this.#total - 1)
    return isOften && this.#bad >= (before ? FEWEST_AGAIN : FEWEST) && this.#sum >= convincing
  }

  clear(): void {
    this.#sum = 0
    this.#bad = 0
    this.#total = 0
  }
}
