/**
 * Makes the clusters of targets with failover, and the policies that guard their endpoints. While
 * they are in use, the ejection of each service knows where calls go on to.
 */
import type { Clock } from '../../core/clock.ts'
import type { Cluster } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { EjectionPolicy } from '../../resilience/ejection.ts'
import { OwnedPolicies } from '../../resilience/owned-policies.ts'
import { guardsOf } from '../../resilience/stack.ts'
import type { FailoverLevel } from '../../routing/settings.ts'
import type { BalancingClient } from '../balancing/arranged.ts'
import { FailoverCluster, type OwnerBalancing } from './failover-cluster.ts'
import { type LevelMembers, type LevelsParts, levelsOf } from './failover-levels.ts'

/** A target that fails over. */
export interface FailoverWish extends Omit<LevelsParts, 'client'>, OwnerBalancing {
  readonly levels: readonly FailoverLevel[]
  /** The policies of the target's endpoints. */
  readonly guards: readonly Policy[]
}

export interface FailoverTarget {
  readonly cluster: Cluster
  readonly guards: readonly Policy[]
}

export class FailoverTargets {
  readonly #clock: Clock
  readonly #client: BalancingClient
  /** Which ejection knows of which, and how it forgets. */
  readonly #alternatives = new Map<EjectionPolicy, Map<EjectionPolicy, () => void>>()

  constructor(clock: Clock, client: BalancingClient) {
    this.#clock = clock
    this.#client = client
  }

  of(wish: FailoverWish): FailoverTarget {
    const { owner, balancing, ejection } = wish
    const client = this.#client
    const levels = levelsOf(wish.levels, { ...wish, client })
    // The levels say which zones come first.
    const own: OwnerBalancing = { balancing: Object.freeze({ ...balancing, zone: 'ignore' }), ejection }
    const cluster = new FailoverCluster({
      service: owner.service,
      levels,
      balancingOf: (each) => (each === owner ? own : { balancing: each.settings, ejection: undefined }),
      client,
      key: balancing.hashKey,
      clock: this.#clock,
    })
    this.#addAlternatives(levels)
    const guards = new Map(
      levels.map(({ owner: each }) => [
        each.service,
        guardsOf({ settings: each.settings, state: each.state, balancer: each.learner }),
      ]),
    )
    guards.set(owner.service, wish.guards)
    return { cluster, guards: Object.freeze([new OwnedPolicies(guards)]) }
  }

  /** None of the clusters made so far is used by calls that begin now. */
  clear(): void {
    for (const others of this.#alternatives.values()) for (const release of others.values()) release()
    this.#alternatives.clear()
  }

  #addAlternatives(levels: readonly LevelMembers[]): void {
    const ejections = [...new Set(levels.map(({ owner }) => owner.state.ejection))]
    for (const [i, ejection] of ejections.entries()) {
      const known = this.#alternatives.get(ejection) ?? new Map<EjectionPolicy, () => void>()
      this.#alternatives.set(ejection, known)
      for (const other of ejections.slice(i + 1)) {
        if (!known.has(other)) known.set(other, ejection.addAlternative(other))
      }
    }
  }
}
