/**
 * Picks among ordered levels of endpoints: a level for each call by its share of the load, then an
 * endpoint in it. A call leaves a level that has no usable endpoint left for it.
 */
import type { Call, HashKey } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Picker } from '../../core/picker.ts'
import { hashText } from './hash.ts'
import type { LevelHealth } from './level-health.ts'
import { type LevelCapacity, shareLoad } from './level-shares.ts'
import { warmth } from './slow-start.ts'
import { EVERY_ENDPOINT, HEALTHY, isUsable, pickScope, REACHABLE, type Tried } from './usable.ts'

/** The endpoints of one level and the means to choose among them. */
export interface Level {
  /** In order of preference: those that drain only if there are no others. */
  readonly endpoints: readonly Endpoint[]
  /** All of them drain. Calls go there only if no other level has a healthy endpoint. */
  readonly draining: boolean
  readonly picker: Picker
  readonly health: LevelHealth
}

/**
 * How often the shares are computed anew. Until then, a call that finds no usable endpoint in its
 * level looks in the others.
 */
const COUNT_EVERY_MS = 100
/**
 * A call that could not connect to this many endpoints of a level takes the level for lost and goes
 * on: the attempts of a call are few, and a large level may vanish at once.
 */
const MOST_UNREACHED = 3
/** Not the seed by which keys choose their endpoint: those of one level would be neighbours. */
const LEVEL_SEED = 0x510e527f

export class FailoverPicker implements Picker {
  readonly #levels: readonly Level[]
  readonly #key: HashKey | undefined
  readonly #clock: Clock
  #shares: readonly number[] = []
  /** The last level that gets calls, and the last one that gets probes. */
  #last = 0
  #lastProbed = 0
  #countedAt = Number.NEGATIVE_INFINITY

  /** `key`: calls with the same key stay in the same level while the shares allow it. */
  constructor(levels: readonly Level[], key: HashKey | undefined, clock: Clock) {
    this.#levels = levels
    this.#key = key
    this.#clock = clock
  }

  /** The part of the calls that each level gets now. */
  get shares(): readonly number[] {
    this.#count(this.#clock.now())
    return this.#shares
  }

  pick(call: Call, now = this.#clock.now()): Endpoint | undefined {
    if (now - this.#countedAt >= COUNT_EVERY_MS) this.#count(now)
    const levels = this.#levels
    // A level comes back by its probes, so they come first. Levels behind the last that gets calls
    // are not needed, so their endpoints need no probes, either.
    for (let i = 0; i <= this.#lastProbed; i++) {
      const due = levels[i]!.health.due(call)
      if (due !== undefined) return due
    }
    // A further attempt goes to the first level that has an endpoint for it.
    const drawn = call.tried === undefined ? this.#draw(call) : 0
    let best = levels[drawn]!.picker.pick(call, now)
    let rank = best === undefined ? NO_ENDPOINT : rankOf(best, levels[drawn]!, call)
    for (let i = 0; rank > USABLE && i < levels.length; i++) {
      if (i === drawn) continue
      const level = levels[i]!
      const endpoint = level.picker.pick(call, now)
      if (endpoint === undefined) continue
      const other = rankOf(endpoint, level, call)
      if (other >= rank) continue
      best = endpoint
      rank = other
    }
    return best
  }

  #draw(call: Call): number {
    const shares = this.#shares
    if (shares[0]! >= 1) return 0
    if (this.#key !== undefined) call.hashKey ??= call.keyOf(this.#key)
    let left = call.hashKey === undefined ? this.#clock.random() : hashText(call.hashKey, LEVEL_SEED) / 2 ** 32
    for (let i = 0; i < this.#last; i++) {
      left -= shares[i]!
      if (left < 0) return i
    }
    return this.#last
  }

  #count(now: number): void {
    this.#countedAt = now
    const levels = this.#levels
    let capacities = levels.map((level) => capacityOf(level, now))
    // As within a service: endpoints that drain get calls only if there are no others.
    if (capacities.some(({ healthy }, i) => healthy > 0 && !levels[i]!.draining)) {
      capacities = capacities.map((each, i) => (levels[i]!.draining ? NO_CAPACITY : each))
    }
    const { shares, carried } = shareLoad(capacities)
    this.#shares = shares
    const last = shares.findLastIndex((share) => share > 0)
    this.#last = Math.max(0, last)
    this.#lastProbed = last < 0 ? levels.length - 1 : last
    for (const { health } of levels) health.relieved = carried
  }
}

const NO_CAPACITY: LevelCapacity = Object.freeze({ healthy: 0, failing: false, reserve: 0 })

/**
 * The healthy capacity of a level by weight. Endpoints that warm up count by their warmth against
 * the others; a level of such endpoints only is as warm as the warmest of them.
 */
function capacityOf({ endpoints, health }: Level, now: number): LevelCapacity {
  const isWeighted = endpoints.some(({ weight }) => weight > 0)
  let total = 0
  let healthy = 0
  let reachable = 0
  let warmest = 0
  for (const endpoint of endpoints) {
    const weight = isWeighted ? endpoint.weight : 1
    if (weight === 0) continue
    const part = warmth(endpoint, now)
    total += weight * part
    if (!endpoint.unreachable) reachable += weight
    if (endpoint.state !== 'healthy') continue
    healthy += weight * part
    if (part > warmest) warmest = part
  }
  return {
    healthy: total === 0 ? 0 : (healthy / total) * warmest,
    failing: health.failing,
    reserve: reachable,
  }
}

/** How good an endpoint is for a call; the lower, the better. */
const USABLE = 0
const DRAINING = 1
const DOUBTFUL = 2
const TRIED = 3
const EJECTED = 4
const UNREACHABLE = 5
const LAST_RESORT = 6
const NO_ENDPOINT = 7

/** The order in which a picker of one level takes what is left, too. */
function rankOf(endpoint: Endpoint, level: Level, { tried }: Call): number {
  if (isUsable(endpoint, tried, pickScope(level.health))) {
    if (isLost(level, tried)) return DOUBTFUL
    return level.draining ? DRAINING : USABLE
  }
  if (isUsable(endpoint, undefined, HEALTHY)) return TRIED
  if (isUsable(endpoint, tried, REACHABLE)) return EJECTED
  return isUsable(endpoint, tried, EVERY_ENDPOINT) ? UNREACHABLE : LAST_RESORT
}

function isLost({ endpoints }: Level, tried: Tried): boolean {
  if (tried === undefined || tried.length < MOST_UNREACHED) return false
  let unreached = 0
  for (const endpoint of tried) if (endpoint.unreachable && endpoints.includes(endpoint)) unreached += 1
  return unreached >= MOST_UNREACHED
}
