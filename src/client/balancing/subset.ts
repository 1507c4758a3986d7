/**
 * A subset of the endpoints for each client, so that thousands of clients do not hold connections to thousands of endpoints each. By rendezvous
 * hashing (Thaler, Ravishankar 1996; gRFC A68): no client needs a number or knows of the others, and one endpoint more or less changes at most one.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { hashText, mix } from './hash.ts'
import { withWeight } from './usable.ts'

/** The `size` endpoints that rank first for this client, in their order; all that take calls, if there are no more. */
export function subsetOf(endpoints: readonly Endpoint[], size: number, clientId: string): readonly Endpoint[] {
  return new Ranking(endpoints, clientId).first(size)
}

/** The order in which one client prefers the endpoints. */
export class Ranking {
  readonly #candidates: readonly Endpoint[]
  readonly #ranks: Float64Array
  /** Ascending. */
  readonly #sorted: Float64Array

  constructor(endpoints: readonly Endpoint[], clientId: string) {
    // One of weight 0 would take a place and no calls; where they had all places, they would have the calls, too.
    this.#candidates = withWeight(endpoints)
    const seeds = [hashText(clientId, 1), hashText(clientId, 2)] as const
    this.#ranks = Float64Array.from(this.#candidates, ({ hashKey }) => rank(hashKey, seeds))
    this.#sorted = this.#ranks.toSorted()
  }

  /** How many there are to choose from. */
  get size(): number {
    return this.#candidates.length
  }

  /** The first `count` of them, in the order of the list. */
  first(count: number): readonly Endpoint[] {
    const candidates = this.#candidates
    if (candidates.length <= count) return candidates
    const least = this.#sorted[candidates.length - count]!
    return candidates.filter((_, i) => this.#ranks[i]! >= least)
  }
}

/** 53 bits, all that a number holds: among 10,000 endpoints two are equal once in 10^8 times. */
function rank(key: string, seeds: readonly [number, number]): number {
  return mix(hashText(key, seeds[0])) * 2 ** 21 + (hashText(key, seeds[1]) >>> 11)
}
