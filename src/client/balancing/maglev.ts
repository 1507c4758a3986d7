/**
 * Maglev (Eisenbud et al. 2016): a table of places that the endpoints take in turns, each in an order of its own. Shares are as even as the
 * weights say and finding an endpoint is one look; when endpoints change, somewhat more keys move than on a ring.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/ejection.ts'
import { hashText } from './hash.ts'
import { HashBalancer, type HashTable, weightUnit } from './hash-picker.ts'

/**
 * The sizes: Maglev's own 65537, then the first prime above each further power of two. A hundred places per endpoint keep shares within a
 * percent (section 5.3). Far apart, because another size moves every key.
 */
const SIZES = [65_537, 131_101, 262_147, 524_309, 1_048_583, 2_097_169, 4_194_319, 8_388_617] as const
const PLACES_EACH = 100
const SEEDS = [0x510e527f, 0x9b05688c] as const

/** One for each service. */
export function maglev(clock: Clock, health: ClusterHealth | undefined): HashBalancer {
  return new HashBalancer('maglev', (endpoints) => new MaglevTable(endpoints), clock, health)
}

export class MaglevTable implements HashTable {
  readonly #owners: Uint32Array

  constructor(endpoints: readonly Endpoint[]) {
    const least = PLACES_EACH * endpoints.length
    const size = SIZES.find((each) => each > least) ?? SIZES[SIZES.length - 1]!
    this.#owners = new Uint32Array(size)
    if (endpoints.length > 0) this.#fill(endpoints)
  }

  get size(): number {
    return this.#owners.length
  }

  first(hash: number): number {
    return Math.floor((hash / 2 ** 32) * this.#owners.length)
  }

  /** A stride that depends on the key, or all keys of a lost endpoint would share the next ones. The size is prime: it meets each place. */
  next(place: number, hash: number): number {
    const size = this.#owners.length
    const stride = 1 + ((Math.imul(hash, 0x9e3779b1) >>> 0) % (size - 1))
    return (place + stride) % size
  }

  owner(place: number): number {
    return this.#owners[place]!
  }

  #fill(endpoints: readonly Endpoint[]): void {
    const owners = this.#owners
    const size = owners.length
    const places = Uint32Array.from(endpoints, ({ hashKey }) => hashText(hashKey, SEEDS[0]) % size)
    const skips = Uint32Array.from(endpoints, ({ hashKey }) => 1 + (hashText(hashKey, SEEDS[1]) % (size - 1)))
    const unit = weightUnit(endpoints)
    const gains = Float64Array.from(endpoints, ({ weight }) => (unit === 0 ? 1 : weight / unit))
    const credits = new Float64Array(endpoints.length)
    // One bit a place: the search goes to places at random, and these fit the processor's cache.
    const taken = new Uint32Array((size + 31) >>> 5)
    let left = size
    while (left > 0) {
      for (let i = 0; i < endpoints.length && left > 0; i++) {
        let credit = credits[i]! + gains[i]!
        for (; credit >= 1 && left > 0; credit--) {
          let place = places[i]!
          const skip = skips[i]!
          while ((taken[place >>> 5]! & (1 << (place & 31))) !== 0) {
            place += skip
            if (place >= size) place -= size
          }
          taken[place >>> 5]! |= 1 << (place & 31)
          owners[place] = i
          places[i] = place
          left -= 1
        }
        credits[i] = credit
      }
    }
  }
}
