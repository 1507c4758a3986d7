/**
 * Consistent hashing: calls with one key go to one endpoint from every client, unless it is
 * overloaded. Ring and Maglev share this walk and its load bound.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { hashText, mix } from './hash.ts'
import { warmth } from './slow-start.ts'
import { survey } from './survey.ts'
import { isUsable, pickScope, searchAll } from './usable.ts'

/** Maps keys to endpoints. Processes with the same endpoints build the same table. */
export interface HashTable {
  /** The place of a hash. */
  first(hash: number): number
  /** The place to try after `place`. */
  next(place: number, hash: number): number
  /** The index of the endpoint at a place. */
  owner(place: number): number
}

/** For endpoints sorted by hash key. */
export type BuildTable = (endpoints: readonly Endpoint[]) => HashTable

/**
 * No endpoint exceeds its share of the attempts in flight by more than this factor (Mirrokni,
 * Thorup, Zadimoghaddam 2018; their 1 + epsilon).
 */
const BOUND = 1.25
/** At that bound at most 4 of 5 endpoints are full, so one walk in 10^12 is longer. */
const MOST_STEPS = 128
/** Arbitrary, but the same in every process. */
const KEY_SEED = 0x3c6ef372
const WARM_SALT = 0x9e3779b9

/** A balancer, and a policy that counts attempts in flight, because the bound needs their sum. */
export class HashBalancer implements Balancer, Policy {
  readonly name: string
  readonly #build: BuildTable
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined
  #inFlight = 0

  constructor(name: string, build: BuildTable, clock: Clock, health: ClusterHealth | undefined) {
    this.name = name
    this.#build = build
    this.#clock = clock
    this.#health = health
  }

  /** Attempts in flight, over all endpoints. */
  get inFlight(): number {
    return this.#inFlight
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    const { endpoints: weighty, warmAt } = survey(endpoints)
    const ordered = [...weighty].sort((a, b) =>
      a.hashKey === b.hashKey ? (a.label < b.label ? -1 : 1) : a.hashKey < b.hashKey ? -1 : 1,
    )
    return new HashPicker(ordered, this.#build, this, health, this.#clock, warmAt)
  }

  admit(): ErrorCode | undefined {
    this.#inFlight += 1
    return undefined
  }

  settle(_attempt: Attempt, _outcome: Outcome): void {
    this.#inFlight -= 1
  }
}

class HashPicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #build: BuildTable
  /**
   * Built on the first pick, so an unused service or a burst of changes costs nothing.
   */
  #table: HashTable | undefined
  readonly #balancer: HashBalancer
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  readonly #warmAt: number
  /** While endpoints warm up: the one that finishes first. */
  readonly #warmest: Endpoint | undefined
  /** The bound of attempts in flight for each endpoint. */
  readonly #bounds: Float64Array

  constructor(
    endpoints: readonly Endpoint[],
    build: BuildTable,
    balancer: HashBalancer,
    health: ClusterHealth | undefined,
    clock: Clock,
    warmAt: number,
  ) {
    this.#endpoints = endpoints
    this.#build = build
    this.#balancer = balancer
    this.#health = health
    this.#clock = clock
    this.#warmAt = warmAt
    if (warmAt > clock.now()) this.#warmest = endpoints.reduce((a, b) => (b.warmAt < a.warmAt ? b : a))
    const total = endpoints.reduce((sum, endpoint) => sum + endpoint.weight, 0)
    this.#bounds = Float64Array.from(endpoints, ({ weight }) =>
      total === 0 ? BOUND / endpoints.length : (BOUND * weight) / total,
    )
  }

  pick(call: Call): Endpoint | undefined {
    const endpoints = this.#endpoints
    if (endpoints.length <= 1) return endpoints[0]
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    const among = pickScope(this.#health)
    const key = call.hashKey
    const hash = key === undefined ? Math.floor(this.#clock.random() * 2 ** 32) : hashText(key, KEY_SEED)
    const now = this.#warmAt === 0 ? 0 : this.#clock.now()
    // Where all endpoints are new, none can take over, so they keep their keys.
    const most = now < this.#warmAt ? warmth(this.#warmest!, now) : 0
    const load = this.#balancer.inFlight + 1

    this.#table ??= this.#build(endpoints)
    const table = this.#table
    let full: Endpoint | undefined
    let place = table.first(hash)
    for (let i = 0; i < MOST_STEPS; i++) {
      const at = table.owner(place)
      const endpoint = endpoints[at]!
      if (isUsable(endpoint, call.tried, among)) {
        full ??= endpoint
        const isFull = endpoint.pending >= Math.ceil(this.#bounds[at]! * load)
        if (!isFull && (most === 0 || takesOver(endpoint, hash, warmth(endpoint, now) / most))) return endpoint
      }
      place = table.next(place, hash)
    }
    // One that owns nearly all places hides the others; its keys go to several of them all the
    // same.
    return full ?? searchAll(endpoints, hash % endpoints.length, call.tried, among)
  }
}

/**
 * A key moves to a new endpoint once, at an age of the endpoint that all clients agree on, and
 * stays. Each endpoint draws by itself, so what several new ones do not take yet is spread over
 * all.
 */
function takesOver({ hashKey }: Endpoint, hash: number, part: number): boolean {
  return part >= 1 || mix(hash ^ hashText(hashKey, WARM_SALT)) < part * 2 ** 32
}
