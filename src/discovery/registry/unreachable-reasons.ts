/**
 * The reasons why no session could be opened since the last one stood, so that each is reported
 * once and not with every attempt.
 */

/** A registry whose refusals differ each time is not reported without end. */
const MOST_REASONS = 64

export class UnreachableReasons {
  readonly #known = new Set<string>()

  /** Whether this reason is the first of its kind at this address; remembers it. */
  isNew(address: string, reason: string): boolean {
    // Reasons may contain times and ports, which differ between attempts.
    const key = `${address} ${reason.replace(/\d+/g, '0')}`
    if (this.#known.has(key) || this.#known.size >= MOST_REASONS) return false
    this.#known.add(key)
    return true
  }

  /** A session stands. */
  clear(): void {
    this.#known.clear()
  }
}
