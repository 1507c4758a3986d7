/**
 * Power of two choices (Mitzenmacher 1996), on request with memory: draws two endpoints and takes
 * the best of these and of the last that answered. It runs in constant time and allocates nothing.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { AliasTable } from './alias-table.ts'
import { Candidate } from './candidate.ts'
import type { RecentAnswers } from './recent-answers.ts'
import { warmth } from './slow-start.ts'
import { survey } from './survey.ts'
import { EVERY_ENDPOINT, HEALTHY, isUsable, type PickScope, pickScope, REACHABLE, type Tried } from './usable.ts'

export interface LoadMeasure {
  /** A pick begins. */
  begin?(now: number): void
  /** Sets the load of `endpoint`, whose share is set. */
  load(endpoint: Endpoint, candidate: Candidate, now: number): void
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

/** Scratch space of a pick, which never waits. */
const FIRST = new Candidate()
const SECOND = new Candidate()
const RECENT = new Candidate()

export class P2cPicker implements Picker {
  readonly #endpoints: readonly Endpoint[]
  readonly #measure: LoadMeasure
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  /** When all endpoints have warmed up. */
  readonly #warmAt: number
  /** `undefined` if all weights are equal. */
  readonly #weights: AliasTable | undefined
  readonly #handicap: number
  readonly #recent: RecentAnswers | undefined

  /** `recent`: those that have just answered are candidates, too. */
  constructor(
    endpoints: readonly Endpoint[],
    measure: LoadMeasure,
    health: ClusterHealth | undefined,
    clock: Clock,
    recent?: RecentAnswers,
  ) {
    this.#recent = recent
    const { endpoints: weighty, equal, warmAt } = survey(endpoints)
    this.#endpoints = weighty
    this.#warmAt = warmAt
    this.#measure = measure
    this.#health = health
    this.#clock = clock
    this.#weights = equal ? undefined : new AliasTable(weightsOf(weighty))
    this.#handicap = equal ? 1 : CLEARLY
  }

  pick(call: Call, now = this.#clock.now()): Endpoint | undefined {
    const size = this.#endpoints.length
    if (size === 0) return undefined
    if (size === 1) return this.#endpoints[0]
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    const at = this.#pickAt(call.tried, pickScope(this.#health), now)
    if (at < 0) return this.#lastResort(call.tried)
    const endpoint = this.#endpoints[at]!
    endpoint.place = at
    return endpoint
  }

  /** The index of the best; -1 if none is usable. */
  #pickAt(tried: Tried, among: PickScope, now: number): number {
    const endpoints = this.#endpoints
    const size = endpoints.length
    const weights = this.#weights
    this.#measure.begin?.(now)
    if (weights === undefined && size <= ONE_NUMBER_UP_TO) {
      const drawn = this.#clock.random() * size
      const one = Math.floor(drawn)
      let other = Math.floor((drawn - one) * (size - 1))
      if (other >= one) other += 1
      if (isUsable(endpoints[one]!, tried, among) && isUsable(endpoints[other]!, tried, among)) {
        return this.#best(one, other, tried, among, now)
      }
    }
    const a = this.#draw(tried, among, weights, -1)
    if (a < 0) return -1
    const b = this.#draw(tried, among, undefined, a)
    return b < 0 ? a : this.#best(a, b, tried, among, now)
  }

  /** The best of two and the recent ones. The first was drawn by weight, the second evenly. */
  #best(a: number, b: number, tried: Tried, among: PickScope, now: number): number {
    const first = this.#endpoints[a]!
    const second = this.#endpoints[b]!
    FIRST.share = this.#weights?.share(a) ?? 1
    SECOND.share = this.#weights?.share(b) ?? 1
    if (now < this.#warmAt) {
      // Thinned out by its warmth, a new endpoint is drawn as often as one of that part of its
      // weight would be.
      const firstPart = warmth(first, now)
      const secondPart = warmth(second, now)
      const firstIn = firstPart === 1 || this.#clock.random() < firstPart
      const secondIn = secondPart === 1 || this.#clock.random() < secondPart
      if (firstIn !== secondIn) return firstIn ? a : b
      FIRST.share *= firstPart
      SECOND.share *= secondPart
    }
    this.#measure.load(first, FIRST, now)
    this.#measure.load(second, SECOND, now)
    const better = SECOND.load * this.#handicap < FIRST.load
    if (this.#measure.forces(better ? first : second, now)) return better ? a : b
    return this.#orRecent(better ? b : a, better ? SECOND : FIRST, tried, among, now)
  }

  /** `drawn`, or one that has just answered and has less load than `least`. */
  #orRecent(drawn: number, least: Candidate, tried: Tried, among: PickScope, now: number): number {
    const recent = this.#recent
    if (recent === undefined) return drawn
    let best = drawn
    for (let i = recent.endpoints.length - 1; i >= 0; i--) {
      if (recent.isOver(i, now)) {
        recent.drop(i)
        continue
      }
      const endpoint = recent.endpoints[i]!
      const at = endpoint.place
      // Another picker's, or its place is another one's now.
      if (this.#endpoints[at] !== endpoint) continue
      // What warms up gets no more than it is drawn.
      if (endpoint.warmAt > now || !isUsable(endpoint, tried, among)) continue
      RECENT.share = this.#weights?.share(at) ?? 1
      this.#measure.load(endpoint, RECENT, now)
      const load = RECENT.load * this.#handicap
      if (load >= least.load) continue
      best = at
      least.load = load
    }
    return best
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
