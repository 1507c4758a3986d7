/**
 * Power of two choices (Mitzenmacher 1996): draws two endpoints and takes the better one. It runs
 * in constant time, allocates nothing and avoids herds.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { warmth } from './slow-start.ts'
import { survey } from './survey.ts'
import { EVERY_ENDPOINT, HEALTHY, isUsable, type PickScope, pickScope, REACHABLE, type Tried } from './usable.ts'

/**
 * How good an endpoint would be for one more attempt; smaller is better. `share` is its weight over
 * the mean weight.
 */
export interface LoadMeasure {
  load(endpoint: Endpoint, share: number, now: number): number
  /**
   * Whether the loser of a comparison should be tried all the same, because nothing has been heard
   * of it for long.
   */
  forces(loser: Endpoint, now: number): boolean
}

/** Draws before a scan: with half of the endpoints unusable, one pick in 2^10 scans. */
const DRAWS = 10
/**
 * Up to this size, one random number serves two draws: of 32 bits, 16 remain for the second.
 */
const ONE_NUMBER_UP_TO = 65_536
/**
 * With unequal weights the first is drawn by weight and the second evenly; the second must be this
 * much better, or small differences would even out the weights.
 */
const CLEARLY = 2

export class P2cPicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #measure: LoadMeasure
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  /** When all endpoints have warmed up. */
  readonly #warmAt: number
  /** `undefined` if all weights are equal. */
  readonly #weights: AliasTable | undefined

  constructor(endpoints: readonly Endpoint[], measure: LoadMeasure, health: ClusterHealth | undefined, clock: Clock) {
    const { endpoints: weighty, equal, warmAt } = survey(endpoints)
    this.#endpoints = weighty
    this.#warmAt = warmAt
    this.#measure = measure
    this.#health = health
    this.#clock = clock
    this.#weights = equal ? undefined : new AliasTable(weightsOf(weighty))
  }

  pick(call: Call, now = this.#clock.now()): Endpoint | undefined {
    const size = this.#endpoints.length
    if (size === 0) return undefined
    if (size === 1) return this.#endpoints[0]
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    const among = pickScope(this.#health)

    const weights = this.#weights
    if (weights === undefined && size <= ONE_NUMBER_UP_TO) {
      const drawn = this.#clock.random() * size
      const one = Math.floor(drawn)
      const other = Math.floor((drawn - one) * (size - 1))
      const first = this.#endpoints[one]!
      const second = this.#endpoints[other < one ? other : other + 1]!
      const { tried } = call
      if (isUsable(first, tried, among) && isUsable(second, tried, among)) {
        return this.#better(first, second, 1, 1, now)
      }
    }
    const a = this.#draw(call.tried, among, weights, -1)
    if (a < 0) return this.#lastResort(call.tried)
    const b = this.#draw(call.tried, among, undefined, a)
    if (b < 0) return this.#endpoints[a]!
    return this.#better(this.#endpoints[a]!, this.#endpoints[b]!, weights?.share(a) ?? 1, weights?.share(b) ?? 1, now)
  }

  /** `first` was drawn by weight, `second` evenly. */
  #better(first: Endpoint, second: Endpoint, ofFirst: number, ofSecond: number, now: number): Endpoint {
    let firstShare = ofFirst
    let secondShare = ofSecond
    if (now < this.#warmAt) {
      // Thinned out by its warmth, a new endpoint is drawn as often as one of that part of its
      // weight would be.
      const firstPart = warmth(first, now)
      const secondPart = warmth(second, now)
      const firstIn = firstPart === 1 || this.#clock.random() < firstPart
      const secondIn = secondPart === 1 || this.#clock.random() < secondPart
      if (firstIn !== secondIn) return firstIn ? first : second
      firstShare *= firstPart
      secondShare *= secondPart
    }
    const firstLoad = this.#measure.load(first, firstShare, now)
    const secondLoad = this.#measure.load(second, secondShare, now)
    const handicap = this.#weights === undefined ? 1 : CLEARLY
    const better = secondLoad * handicap < firstLoad
    const loser = better ? first : second
    if (this.#measure.forces(loser, now)) return loser
    return better ? second : first
  }

  /** The index of a usable endpoint other than `not`; -1 if there is none. */
  #draw(tried: Tried, among: PickScope, weights: AliasTable | undefined, not: number): number {
    const size = this.#endpoints.length
    const draws = size === 2 ? 0 : DRAWS
    for (let i = 0; i < draws; i++) {
      const at = weights === undefined ? Math.floor(this.#clock.random() * size) : weights.draw(this.#clock.random())
      if (at !== not && isUsable(this.#endpoints[at]!, tried, among)) return at
    }
    const from = weights === undefined ? Math.floor(this.#clock.random() * size) : weights.draw(this.#clock.random())
    for (let i = 0; i < size; i++) {
      const at = (from + i) % size
      if (at !== not && isUsable(this.#endpoints[at]!, tried, among)) return at
    }
    return -1
  }

  /**
   * No endpoint is both healthy and untried. A healthy one that failed once is a better bet than an
   * ejected one.
   */
  #lastResort(tried: Tried): Endpoint | undefined {
    let at = this.#draw(undefined, HEALTHY, undefined, -1)
    if (at < 0) at = this.#draw(tried, REACHABLE, undefined, -1)
    if (at < 0) at = this.#draw(tried, EVERY_ENDPOINT, undefined, -1)
    return this.#endpoints[at >= 0 ? at : Math.floor(this.#clock.random() * this.#endpoints.length)]
  }
}

/** A plain loop, because `map` over a frozen array is several times slower. */
function weightsOf(endpoints: readonly Endpoint[]): Float64Array {
  const weights = new Float64Array(endpoints.length)
  let at = 0
  for (const { weight } of endpoints) weights[at++] = weight
  return weights
}

/** Draws an index with a probability proportional to its weight, in constant time (Vose 1991). */
export class AliasTable {
  readonly #keep: Float64Array
  readonly #alias: Uint32Array
  readonly #shares: Float64Array

  constructor(weights: ArrayLike<number>) {
    const size = weights.length
    let total = 0
    for (let i = 0; i < size; i++) total += weights[i]!
    const mean = total / size
    const shares = new Float64Array(size)
    const keep = new Float64Array(size)
    const alias = new Uint32Array(size)
    // Two stacks in one array: those below the mean grow from its start, the others from its end.
    const stacks = new Uint32Array(size)
    let small = 0
    let large = size
    for (let i = 0; i < size; i++) {
      const share = weights[i]! / mean
      shares[i] = share
      keep[i] = share
      alias[i] = i
      if (share < 1) stacks[small++] = i
      else stacks[--large] = i
    }
    while (small > 0 && large < size) {
      const less = stacks[--small]!
      const more = stacks[large]!
      alias[less] = more
      const left = keep[more]! - (1 - keep[less]!)
      keep[more] = left
      if (left >= 1) continue
      large += 1
      stacks[small++] = more
    }
    // The rest differs from 1 only by rounding.
    while (small > 0) keep[stacks[--small]!] = 1
    while (large < size) keep[stacks[large++]!] = 1
    this.#shares = shares
    this.#keep = keep
    this.#alias = alias
  }

  /** `random` in [0, 1). */
  draw(random: number): number {
    const scaled = random * this.#keep.length
    const at = Math.floor(scaled)
    return scaled - at < this.#keep[at]! ? at : this.#alias[at]!
  }

  /** The weight over the mean weight. */
  share(at: number): number {
    return this.#shares[at]!
  }
}
