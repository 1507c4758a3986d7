/**
 * Assigns each client a subset of the endpoints by rendezvous hashing (Thaler, Ravishankar 1996;
 * gRFC A68). Adding or removing an endpoint changes at most one of the subset.
 */
import { type Endpoint, withWeight } from '../../core/endpoint.ts'
import { hashText, mix } from './hash.ts'

/**
 * The `size` endpoints that rank first for this client, in their order; all that take calls, if
 * there are no more.
 */
export function subsetOf(endpoints: readonly Endpoint[], size: number, clientId: string): readonly Endpoint[] {
  return new Ranking(endpoints, new Ranks(clientId)).first(size)
}

/**
 * How one client ranks each endpoint. Kept, because a change of a large service leaves nearly all
 * of them as they were.
 */
export class Ranks {
  readonly #seeds: readonly [number, number]
  readonly #known = new WeakMap<Endpoint, number>()

  constructor(clientId: string) {
    this.#seeds = [hashText(clientId, 1), hashText(clientId, 2)]
  }

  of(endpoint: Endpoint): number {
    let known = this.#known.get(endpoint)
    if (known === undefined) {
      known = rank(endpoint.hashKey, this.#seeds)
      this.#known.set(endpoint, known)
    }
    return known
  }
}

/** The order in which one client prefers the endpoints. */
export class Ranking {
  readonly #candidates: readonly Endpoint[]
  readonly #ranks: Float64Array

  constructor(endpoints: readonly Endpoint[], ranks: Ranks) {
    // One of weight 0 would take a place and no calls; where they had all places, they would have
    // the calls, too.
    this.#candidates = withWeight(endpoints)
    // A loop: `Float64Array.from` with a function costs ten times as much, 1 ms for 10,000.
    this.#ranks = new Float64Array(this.#candidates.length)
    for (let i = 0; i < this.#ranks.length; i++) this.#ranks[i] = ranks.of(this.#candidates[i]!)
  }

  /** How many there are to choose from. */
  get size(): number {
    return this.#candidates.length
  }

  /** The first `count` of them, in the order of the list. */
  first(count: number): readonly Endpoint[] {
    const candidates = this.#candidates
    if (candidates.length <= count) return candidates
    const least = nthLargest(this.#ranks.slice(), count)
    return candidates.filter((_, i) => this.#ranks[i]! >= least)
  }
}

/** 53 bits, all that a number holds: among 10,000 endpoints two are equal once in 10^8 times. */
function rank(key: string, seeds: readonly [number, number]): number {
  return mix(hashText(key, seeds[0])) * 2 ** 21 + (hashText(key, seeds[1]) >>> 11)
}

/** Quickselect (Hoare 1961): a sort of 10,000 costs 0.7 ms. Reorders `values`. */
function nthLargest(values: Float64Array, nth: number): number {
  const at = values.length - nth
  let low = 0
  let high = values.length - 1
  while (low < high) {
    const pivot = values[(low + high) >>> 1]!
    let [i, j] = [low, high]
    while (i <= j) {
      while (values[i]! < pivot) i++
      while (values[j]! > pivot) j--
      if (i > j) break
      const value = values[i]!
      values[i++] = values[j]!
      values[j--] = value
    }
    if (at <= j) high = j
    else if (at >= i) low = i
    else break
  }
  return values[at]!
}
