/**
 * Ring hash (Karger 1997; gRFC A42): each endpoint has points on a ring, a key belongs to the next point. One endpoint more or less moves
 * only the keys that it gets or had; shares are less even than with Maglev, which the bound on load makes good.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/ejection.ts'
import { hashText, mix } from './hash.ts'
import { HashBalancer, type HashTable, weightUnit } from './hash-picker.ts'

/** Points per endpoint: Ketama's 160 up to a hundred endpoints; fewer in larger rings, so that they can be built in milliseconds. */
const MOST_POINTS = 160
const LEAST_POINTS = 16
const POINTS = 16_384
const SEEDS = [0x6a09e667, 0xbb67ae85] as const

/** One for each service. */
export function ringHash(clock: Clock, health: ClusterHealth | undefined): HashBalancer {
  return new HashBalancer('ring-hash', (endpoints) => new Ring(endpoints), clock, health)
}

/** The points in order, with an index by their first bits: about one point in each bucket, so finding one takes constant time. */
export class Ring implements HashTable {
  readonly #points: Uint32Array
  readonly #owners: Uint32Array
  /** Where each bucket begins. */
  readonly #starts: Uint32Array
  readonly #shift: number

  constructor(endpoints: readonly Endpoint[]) {
    const counts = pointsOf(endpoints)
    const size = counts.reduce((sum, count) => sum + count, 0)
    const bits = Math.max(1, Math.ceil(Math.log2(Math.max(size, 2))))
    this.#shift = 32 - bits
    this.#points = new Uint32Array(size)
    this.#owners = new Uint32Array(size)
    this.#starts = new Uint32Array(2 ** bits + 1)
    this.#fill(endpoints, counts)
  }

  get size(): number {
    return this.#points.length
  }

  first(hash: number): number {
    const bucket = hash >>> this.#shift
    const end = this.#starts[bucket + 1]!
    let place = this.#starts[bucket]!
    while (place < end && this.#points[place]! < hash) place += 1
    return place === this.#points.length ? 0 : place
  }

  next(place: number): number {
    return place + 1 === this.#points.length ? 0 : place + 1
  }

  owner(place: number): number {
    return this.#owners[place]!
  }

  /** A counting sort by bucket, then by insertion within each. It is stable, so equal points lie in the order of keys for everybody. */
  #fill(endpoints: readonly Endpoint[], counts: Uint32Array): void {
    const size = this.size
    const points = new Uint32Array(size)
    const owners = new Uint32Array(size)
    const starts = this.#starts
    const shift = this.#shift
    let made = 0
    for (let i = 0; i < endpoints.length; i++) {
      const { hashKey } = endpoints[i]!
      const base = hashText(hashKey, SEEDS[0])
      const step = hashText(hashKey, SEEDS[1]) | 1
      for (let j = 0; j < counts[i]!; j++) {
        const point = mix(base + Math.imul(j, step))
        points[made] = point
        owners[made++] = i
        starts[(point >>> shift) + 1]! += 1
      }
    }
    for (let bucket = 1; bucket < starts.length; bucket++) starts[bucket]! += starts[bucket - 1]!
    const ends = starts.slice()
    for (let i = 0; i < size; i++) {
      const point = points[i]!
      const bucket = point >>> shift
      let place = ends[bucket]!++
      for (; place > starts[bucket]! && this.#points[place - 1]! > point; place--) {
        this.#points[place] = this.#points[place - 1]!
        this.#owners[place] = this.#owners[place - 1]!
      }
      this.#points[place] = point
      this.#owners[place] = owners[i]!
    }
  }
}

function pointsOf(endpoints: readonly Endpoint[]): Uint32Array {
  const each = Math.min(MOST_POINTS, Math.max(LEAST_POINTS, Math.ceil(POINTS / endpoints.length)))
  const unit = weightUnit(endpoints)
  return Uint32Array.from(endpoints, ({ weight }) =>
    unit === 0 ? each : Math.max(1, Math.round((each * weight) / unit)),
  )
}
