/**
 * Makes the clusters of targets with failover, and the policies that guard their endpoints. While
 * they are in use, the ejection of each service knows where calls go on to.
 */
import type { Clock } from '../../core/clock.ts'
import type { Cluster } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { Alternative } from '../../resilience/alternative.ts'
import { OwnedPolicies } from '../../resilience/owned-policies.ts'
import { guardsOf } from '../../resilience/stack.ts'
import type { FailoverLevel } from '../../routing/settings.ts'
import type { BalancingClient } from '../balancing/arranged.ts'
import type { EndpointOwner } from './endpoint-owner.ts'
import { FailoverCluster, type OwnerBalancing } from './failover-cluster.ts'
import { type LevelsParts, levelsOf } from './failover-levels.ts'

/** A target that fails over. */
export interface FailoverWish extends Omit<LevelsParts, 'client'>, OwnerBalancing {
  /** Equal for targets that share a cluster. */
  readonly key: string
  readonly levels: readonly FailoverLevel[]
  /** The policies of the target's endpoints. */
  readonly guards: readonly Policy[]
}

export interface FailoverTarget {
  readonly cluster: Cluster
  readonly guards: readonly Policy[]
  /** What a failing level leaves its calls to. */
  readonly relief: Alternative
}

interface Made {
  readonly cluster: FailoverCluster
  readonly owners: readonly EndpointOwner[]
  /** The services of all levels are watched. */
  readonly whole: boolean
  readonly end: () => void
}

export class FailoverTargets {
  readonly #clock: Clock
  readonly #client: BalancingClient
  readonly #clusters = new Map<string, Made>()

  constructor(clock: Clock, client: BalancingClient) {
    this.#clock = clock
    this.#client = client
  }

  of(wish: FailoverWish): FailoverTarget {
    let made = this.#clusters.get(wish.key)
    if (made === undefined || !made.whole) {
      made?.end()
      made = this.#make(wish)
      this.#clusters.set(wish.key, made)
    }
    const guards = new Map(made.owners.map((owner) => [owner.service, guardsOf(partsOf(owner))]))
    guards.set(wish.owner.service, wish.guards)
    return { cluster: made.cluster, relief: made.cluster, guards: Object.freeze([new OwnedPolicies(guards)]) }
  }

  /** Calls that begin from now on use none of the clusters made so far. */
  clear(): void {
    for (const { end } of this.#clusters.values()) end()
    this.#clusters.clear()
  }

  #make(wish: FailoverWish): Made {
    const { owner, balancing, ejection } = wish
    const [clock, client] = [this.#clock, this.#client]
    let whole = true
    const ownerOf = (service: string): EndpointOwner | undefined => {
      const found = wish.ownerOf(service)
      whole &&= found !== undefined
      return found
    }
    const levels = levelsOf(wish.levels, { ...wish, client, ownerOf })
    // Levels by zone say which zones come first.
    const zone = wish.levels.some(({ kind }) => kind === 'zone') ? 'ignore' : balancing.zone
    const ofTarget: OwnerBalancing = { balancing: Object.freeze({ ...balancing, zone }), ejection }
    const cluster = new FailoverCluster({
      ...{ levels, client, clock, service: owner.service, key: balancing.hashKey },
      balancingOf: (each) => (each === owner ? ofTarget : { balancing: each.settings, ejection: undefined }),
    })
    return { cluster, owners: [...new Set(levels.map((level) => level.owner))], whole, end: cluster.begin() }
  }
}

function partsOf({ settings, state, learner }: EndpointOwner) {
  return { settings, state, balancer: learner }
}
