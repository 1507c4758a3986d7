/** Other registries that are gone, and with them what they had heard. */
import { KEPT_MS, type Span } from './slots.ts'

const MOST = 100

export class GoneRegistries {
  /** By id, when each was there last. */
  readonly #seenAt = new Map<string, number>()

  /** `present`: those that are there now. */
  look(present: readonly string[], now: number): void {
    for (const id of present) {
      this.#seenAt.delete(id)
      this.#seenAt.set(id, now)
    }
    for (const [id, seenAt] of this.#seenAt) {
      if (seenAt >= now - KEPT_MS && this.#seenAt.size <= MOST) break
      this.#seenAt.delete(id)
    }
  }

  /** Those that are gone, and were there during a part of `span`. */
  within({ from }: Span, present: readonly string[]): string[] {
    return [...this.#seenAt].filter(([id, at]) => at > from && !present.includes(id)).map(([id]) => id)
  }
}
