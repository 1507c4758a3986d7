/**
 * Since when a process is expected to report, and the times of which nothing was heard of it. The
 * time after {@link ProcessHistory.heardUntil} is open: a late report may cover it.
 */
import type { Span } from './slots.ts'

/** More are drawn together, as if nothing had been heard in between. */
const MOST_HOLES = 60

export class ProcessHistory {
  readonly since: number
  /** `undefined`: it goes on. */
  until: number | undefined
  #heardUntil: number
  #holes: Span[] = []

  constructor(since: number) {
    this.since = since
    this.#heardUntil = since
  }

  get heardUntil(): number {
    return this.#heardUntil
  }

  /** Everything up to `to` is known. */
  heard(to: number): void {
    if (to > this.#heardUntil) this.#heardUntil = to
  }

  /**
   * No report covers the time before `to` that is open. `since`: nor of the time after this,
   * which only seemed to be idle.
   */
  missed(to: number, since = Number.POSITIVE_INFINITY): void {
    const from = Math.max(Math.min(this.#heardUntil, since), this.#holes.at(-1)?.to ?? this.since)
    this.heard(to)
    if (from >= to) return
    this.#holes.push({ from, to })
    if (this.#holes.length <= MOST_HOLES) return
    const [first, second] = this.#holes
    this.#holes.splice(0, 2, { from: first!.from, to: second!.to })
  }

  /** It ends, and is known up to `heardUntil`. */
  end(at: number): void {
    this.until = Math.max(at, this.since)
  }

  /** It had not ended. */
  goOn(): void {
    this.until = undefined
  }

  /** The holes within `span`; `assumesUntil`: what is open up to there counts as heard. */
  holesIn(span: Span, assumedUntil: number): Span[] {
    const end = Math.min(span.to, this.until ?? Number.POSITIVE_INFINITY)
    const open = { from: Math.max(this.#heardUntil, Math.min(assumedUntil, end)), to: end }
    return [...this.#holes, open]
      .map(({ from, to }) => ({ from: Math.max(from, span.from), to: Math.min(to, end) }))
      .filter(({ from, to }) => from < to)
  }

  forget(before: number): void {
    while (this.#holes.length > 0 && this.#holes[0]!.to < before) this.#holes.shift()
  }
}
