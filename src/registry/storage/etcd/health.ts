/** Whether the store can be written: the last write succeeded and the watch is live. */

/** A new leader of etcd is elected sooner. */
const GRACE_MS = 3_000

export class Health {
  readonly #changed: () => void
  /** What is wrong, and since when it is. */
  readonly #wrong = new Map<'write' | 'watch', { reason: string; readonly since: number }>()
  #timer: NodeJS.Timeout | undefined
  #reason: string | undefined

  /** `changed`: it can be written again, or no longer. */
  constructor(changed: () => void) {
    this.#changed = changed
  }

  /** Why it cannot be written. */
  get reason(): string | undefined {
    return this.#reason
  }

  well(part: 'write' | 'watch'): void {
    if (this.#wrong.delete(part)) this.#judge()
  }

  /** `certain`: it is no pause that a new leader ends. */
  unwell(part: 'write' | 'watch', reason: string, certain = false): void {
    const since = certain ? Number.NEGATIVE_INFINITY : (this.#wrong.get(part)?.since ?? performance.now())
    this.#wrong.set(part, { reason, since })
    this.#judge()
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #judge(): void {
    clearTimeout(this.#timer)
    const before = this.#reason
    const now = performance.now()
    const all = [...this.#wrong.values()]
    // It is written again only when nothing is wrong.
    const over = all.find(({ since }) => now - since >= GRACE_MS) ?? (before === undefined ? undefined : all[0])
    this.#reason = over?.reason
    if (over === undefined && all.length > 0) {
      const next = Math.min(...all.map(({ since }) => since + GRACE_MS - now))
      this.#timer = setTimeout(() => this.#judge(), Math.max(1, next))
    }
    if ((this.#reason === undefined) !== (before === undefined)) this.#changed()
  }
}
