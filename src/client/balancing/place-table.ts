/**
 * A table from keys to endpoints, in which weighted rendezvous hashing draws the owner of each
 * place. A changed endpoint moves only the keys that it gains or loses.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { hashText, mix } from './hash.ts'
import type { HashTable } from './hash-picker.ts'

/**
 * Places per endpoint below which the table grows: shares then differ by a quarter of themselves,
 * which the bound on load levels.
 */
const PLACES_EACH = 16
/** Each size is four times the one before, up to 65,536 endpoints. */
const GROWTH_BITS = 2
const MOST_BITS = 20
const SEEDS = [0x6a09e667, 0xbb67ae85] as const
const TIME_SALT = 0x3c6ef372
const SIZE_SALT = 0xa54ff53a

/**
 * A key that moves to a larger table changes its owner. So a service between two sizes has both
 * tables, and each further endpoint sends a few keys to the larger one.
 */
export class PlaceTable implements HashTable {
  /** The places of the smaller table, then those of the larger. */
  readonly #owners: Uint32Array
  readonly #bits: number
  readonly #small: number
  /** Hashes below this, of 2^32, go to the larger table. */
  readonly #inLarge: number

  /** `endpoints` in the order of their hash keys. `bits`: of the smallest size. */
  constructor(endpoints: readonly Endpoint[], bits: number) {
    const count = endpoints.length
    while (bits < MOST_BITS && count >= 2 * (2 ** bits / PLACES_EACH)) bits += GROWTH_BITS
    this.#bits = bits
    this.#small = 2 ** bits
    const enough = this.#small / PLACES_EACH
    const part = bits >= MOST_BITS ? 0 : Math.max(0, count - enough) / enough
    this.#inLarge = Math.floor(part * 2 ** 32)
    this.#owners = new Uint32Array(part === 0 ? this.#small : this.#small + this.#small * 2 ** GROWTH_BITS)
    if (count === 0) return
    race(endpoints, this.#owners.subarray(0, this.#small), bits)
    if (part > 0) race(endpoints, this.#owners.subarray(this.#small), bits + GROWTH_BITS)
  }

  get size(): number {
    return this.#owners.length
  }

  first(hash: number): number {
    const isLarge = this.#inLarge > 0 && mix(hash ^ SIZE_SALT) < this.#inLarge
    return isLarge ? this.#small + (hash >>> (32 - this.#bits - GROWTH_BITS)) : hash >>> (32 - this.#bits)
  }

  next(place: number, hash: number): number {
    const stride = this.stride(hash)
    const small = this.#small
    if (place < small) return (place + stride) % small
    return small + ((place - small + stride) % (this.#owners.length - small))
  }

  owner(place: number): number {
    return this.#owners[place]!
  }

  /** How far the next place of a key is; odd, so that it meets each place. */
  protected stride(_hash: number): number {
    return 1
  }
}

/**
 * Each endpoint goes to one random place in each 1 / weight of time, at a random instant of it.
 * What it does depends on its own key and weight alone. All places are taken after about `size` x
 * ln(`size`) steps, whatever the number of endpoints.
 */
function race(endpoints: readonly Endpoint[], owners: Uint32Array, bits: number): void {
  const size = owners.length
  const shift = 32 - bits
  const weights = Float64Array.from(endpoints, ({ weight }) => weight)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  // All of weight 0: all alike.
  if (total === 0) weights.fill(1)
  const keys = endpoints.map((endpoint, i) => placeKey(endpoint, endpoints[i - 1]))
  const bases = Uint32Array.from(keys, (key) => hashText(key, SEEDS[0]))
  const steps = Uint32Array.from(keys, (key) => hashText(key, SEEDS[1]) | 1)
  const made = new Uint32Array(endpoints.length)
  const reached = new Float64Array(size).fill(Number.POSITIVE_INFINITY)
  const round = size / (total || endpoints.length)
  let left = size
  let until = 0
  let isLast = false
  while (!isLast) {
    isLast = left === 0
    // An endpoint that reached a place after the end of a round may not be the first there. The
    // last round decides.
    until = isLast ? reached.reduce((latest, at) => Math.max(latest, at), 0) : until + round
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i]!
      const last = Math.ceil(until * weight)
      let nth = made[i]!
      for (; nth < last; nth++) {
        const draw = mix(bases[i]! + Math.imul(nth, steps[i]!))
        const place = draw >>> shift
        const at = (nth + mix(draw ^ TIME_SALT) / 2 ** 32) / weight
        const before = reached[place]!
        if (at >= before) continue
        if (before === Number.POSITIVE_INFINITY) left -= 1
        reached[place] = at
        owners[place] = i
      }
      made[i] = nth
    }
  }
}

/**
 * Endpoints with equal keys are distinguished by address; the first keeps the keys of that name.
 */
function placeKey(endpoint: Endpoint, before: Endpoint | undefined): string {
  const { hashKey, label, id } = endpoint
  if (before?.hashKey !== hashKey) return hashKey
  return before.label === label ? `${hashKey} ${label} ${id}` : `${hashKey} ${label}`
}
