/**
 * The other endpoints that a call could have gone to, with which ejection compares the one that
 * failed.
 */
import type { Endpoint } from '../core/endpoint.ts'
import type { Alternative } from './alternative.ts'
import type { EndpointHealth } from './endpoint-health.ts'
import { WindowedCounts } from './windowed-counts.ts'

/** What the others do, as far as the judgement of one endpoint depends on it. */
export interface Others {
  /** Attempts at them within 10 s, and the share of these that failed. */
  readonly total: number
  readonly failureShare: number
  /** Calls may go elsewhere. */
  readonly hasChoice: boolean
}

export class OtherEndpoints {
  /** All endpoints together: what is usual here. */
  readonly tally: WindowedCounts
  readonly #alternatives = new Set<Alternative>()

  constructor(now: number) {
    this.tally = new WindowedCounts(now)
  }

  /** Until the returned function is called. */
  addAlternative(alternative: Alternative): () => void {
    this.#alternatives.add(alternative)
    return () => void this.#alternatives.delete(alternative)
  }

  /** Those beside `endpoint`, one of `size`. */
  than(endpoint: Endpoint, own: EndpointHealth, size: number, now: number): Others {
    const total = this.tally.total(now) - own.tally.total(now)
    let failureShare = total > 0 ? (this.tally.bad(now) - own.tally.bad(now)) / total : 0
    let hasChoice = size > 1
    for (const alternative of this.#alternatives) {
      const share = alternative.failureShareBehind(endpoint, now)
      if (share === undefined) continue
      hasChoice = true
      failureShare = Math.min(failureShare, share)
    }
    return { total, failureShare, hasChoice }
  }
}
