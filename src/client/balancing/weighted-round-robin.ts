/**
 * Weighted round robin: the static stride scheduler of gRFC A58. Picks are spread evenly, without a
 * queue and without bursts.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { warmth } from './slow-start.ts'
import { survey } from './survey.ts'
import { isUsable, pickScope, searchAll } from './usable.ts'

/** Starts at a random position, so that clients that start together do not move in step. */
export class WeightedRoundRobin implements Balancer {
  readonly name = 'weighted-round-robin'
  readonly #clock: Clock
  readonly #health: ClusterHealth | undefined

  constructor(clock: Clock, health: ClusterHealth | undefined) {
    this.#clock = clock
    this.#health = health
  }

  picker(endpoints: readonly Endpoint[], health = this.#health): Picker {
    return new StridePicker(endpoints, health, this.#clock, this.#clock.random())
  }
}

/** The measure; A58 has 65535, we have the bits for finer weights. */
const FULL = 2 ** 20
/**
 * How far apart neighbours are, or all light ones would fill in the same turn and leave whole turns
 * to the heavy. A58 takes half a measure; the golden section spreads any number of them.
 */
const PHASE = Math.round(FULL * (Math.sqrt(5) / 2 - 0.5))
/**
 * An endpoint above this many mean weights stands in the list more than once: else one heavy
 * endpoint costs all others a turn.
 */
const MOST_MEANS = 4
/** With half of the endpoints out and turns skipped by weight, one pick in 10^5 searches. */
const MOST_STEPS = 128

export class StridePicker implements Picker {
  /** As given, and as slots. */
  readonly #all: readonly Endpoint[]
  readonly #endpoints: readonly Endpoint[]
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock | undefined
  readonly #warmAt: number
  /** `undefined` if all weights are equal: every slot is picked each turn. */
  readonly #gains: Uint32Array | undefined
  #slot: number
  #turn = 0

  /**
   * `start`: where in its order it begins, from 0 to 1. Without `clock` there is no slow start.
   * `weightOf`: above 0 for endpoints that take calls. @defaultValue the weight of each
   */
  constructor(
    endpoints: readonly Endpoint[],
    health: ClusterHealth | undefined,
    clock: Clock | undefined,
    start: number,
    weightOf?: (endpoint: Endpoint) => number,
  ) {
    const { endpoints: weighty, equal, warmAt } = survey(endpoints)
    const slots = equal && weightOf === undefined ? undefined : slotsOf(weighty, weighty.map(weightOf ?? registered))
    this.#all = endpoints
    this.#endpoints = slots === undefined ? weighty : slots.endpoints
    this.#gains = slots?.gains
    this.#health = health
    this.#clock = clock
    this.#warmAt = clock === undefined ? 0 : warmAt
    this.#slot = Math.floor(start * this.#endpoints.length)
    this.#turn = Math.floor(start * FULL)
  }

  /** The same with other weights, which goes on where this one is. */
  reweighed(weightOf: (endpoint: Endpoint) => number): StridePicker {
    const other = new StridePicker(this.#all, this.#health, this.#clock, 0, weightOf)
    other.#slot = Math.floor((this.#slot / this.#endpoints.length) * other.#endpoints.length) || 0
    other.#turn = this.#turn
    return other
  }

  pick(call: Call): Endpoint | undefined {
    const size = this.#endpoints.length
    if (size === 0) return undefined
    const due = this.#health?.due(call)
    if (due !== undefined) return due
    const among = pickScope(this.#health)
    const now = this.#warmAt === 0 ? 0 : this.#clock!.now()
    const warming = now < this.#warmAt
    for (let i = 0; i < MOST_STEPS; i++) {
      const slot = this.#slot
      const endpoint = this.#endpoints[slot]!
      const isTurn = this.#gains === undefined || this.#fills(slot, this.#gains[slot]!)
      this.#advance(size)
      if (!isTurn || !isUsable(endpoint, call.tried, among)) continue
      if (warming && this.#clock!.random() >= warmth(endpoint, now)) continue
      return endpoint
    }
    return searchAll(this.#endpoints, this.#slot, call.tried, among)
  }

  #fills(slot: number, gain: number): boolean {
    return (gain * this.#turn + slot * PHASE) % FULL >= FULL - gain
  }

  #advance(size: number): void {
    this.#slot += 1
    if (this.#slot < size) return
    this.#slot = 0
    this.#turn = (this.#turn + 1) % FULL
  }
}

function registered({ weight }: Endpoint): number {
  return weight
}

interface Slots {
  readonly endpoints: readonly Endpoint[]
  /** The gain per turn; the heaviest endpoint fills the measure each time. */
  readonly gains: Uint32Array
}

/** At most 5/4 as many slots as endpoints; those of one endpoint lie far apart. */
function slotsOf(endpoints: readonly Endpoint[], weights: readonly number[]): Slots {
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / endpoints.length
  const slots = endpoints.flatMap((endpoint, at) => {
    const weight = weights[at]!
    const count = Math.ceil(weight / (MOST_MEANS * mean))
    const gain = weight / count
    return Array.from({ length: count }, (_, i) => ({
      endpoint,
      gain,
      place: count === 1 ? at / endpoints.length : (i + at / endpoints.length) / count,
    }))
  })
  slots.sort((a, b) => a.place - b.place)
  const largest = slots.reduce((most, { gain }) => Math.max(most, gain), 0)
  return {
    endpoints: slots.map(({ endpoint }) => endpoint),
    gains: Uint32Array.from(slots, ({ gain }) => Math.max(1, Math.round((gain / largest) * FULL))),
  }
}
