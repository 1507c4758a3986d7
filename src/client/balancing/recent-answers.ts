/**
 * The endpoints that have just answered well: each has a free place now, and what is known of it is
 * milliseconds old. Each answer serves one pick (Mitzenmacher 2000; join-idle-queue).
 */
import type { Endpoint } from '../../core/endpoint.ts'

/** With 4, p99 is the same in simulations, but more calls fail under faults. */
export const MOST_RECENT = 8
/** 250 ms are worse where clients have little traffic (`npm run simulate`). */
const FRESH_MS = 1_000

export class RecentAnswers {
  readonly endpoints: Endpoint[] = []
  readonly #answeredAt = new Float64Array(MOST_RECENT)

  /** `endpoint` has answered well. */
  add(endpoint: Endpoint, now: number): void {
    const { endpoints } = this
    let at = endpoints.indexOf(endpoint)
    if (at < 0) at = endpoints.length < MOST_RECENT ? endpoints.length : this.#oldest()
    endpoints[at] = endpoint
    this.#answeredAt[at] = now
  }

  /** An attempt goes to `endpoint`: its free place is taken. */
  use(endpoint: Endpoint): void {
    const at = this.endpoints.indexOf(endpoint)
    if (at >= 0) this.drop(at)
  }

  /** Whether the answer is too old, or its endpoint is gone. */
  isOver(at: number, now: number): boolean {
    return now - this.#answeredAt[at]! > FRESH_MS || this.endpoints[at]!.withdrawn
  }

  drop(at: number): void {
    const last = this.endpoints.pop()!
    const end = this.endpoints.length
    if (at === end) return
    this.endpoints[at] = last
    this.#answeredAt[at] = this.#answeredAt[end]!
  }

  #oldest(): number {
    let oldest = 0
    for (let i = 1; i < MOST_RECENT; i++) if (this.#answeredAt[i]! < this.#answeredAt[oldest]!) oldest = i
    return oldest
  }
}
