/**
 * The clusters of a service's targets: the owner's whole cluster, or a view of a part of it. Views
 * are kept by key, so that pickers and estimates survive a change of weights.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../core/clock.ts'
import type { Cluster } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { EjectionSettings } from '../../resilience/ejection-settings.ts'
import { HealthView } from '../../resilience/health-view.ts'
import { type BalancingClient, LayeredBalancer } from '../balancing/arranged.ts'
import { ClusterView, type SubsetConditions } from './cluster-view.ts'
import type { EndpointOwner } from './endpoint-owner.ts'

/** A part of an owner's endpoints, and how they are chosen. */
export interface ClusterWish {
  readonly owner: EndpointOwner
  /** `undefined`: all; `none`: it is not defined. */
  readonly subset: SubsetConditions | 'none' | undefined
  readonly balancing: BalancingSettings
  /** Of a route that has its own. */
  readonly ejection: EjectionSettings | undefined
}

export interface TargetCluster {
  readonly cluster: Cluster
  /** The part of its balancer that learns from attempts. */
  readonly learner: Policy | undefined
}

interface Kept extends TargetCluster {
  readonly owner: EndpointOwner
  readonly conditions: ClusterWish['subset']
  readonly balancing: BalancingSettings
  readonly ejection: EjectionSettings | undefined
}

export class TargetClusters {
  readonly #clock: Clock
  readonly #client: BalancingClient
  readonly #kept = new Map<string, Kept>()

  constructor(clock: Clock, client: BalancingClient) {
    this.#clock = clock
    this.#client = client
  }

  /** `key`: equal for wishes that share a view. */
  of(key: string, { owner, subset, balancing, ejection }: ClusterWish): TargetCluster {
    const known = this.#kept.get(key)
    if (
      known !== undefined &&
      known.owner === owner &&
      isDeepStrictEqual(known.conditions, subset) &&
      isDeepStrictEqual(known.balancing, balancing) &&
      isDeepStrictEqual(known.ejection, ejection)
    ) {
      return known
    }
    const health = new HealthView(owner.state.ejection, this.#clock, ejection)
    const { balancer, policy } = owner.balancer(balancing.balancer)
    const watch = health.watch.bind(health)
    const layered = new LayeredBalancer(balancer, balancing, this.#client, health, this.#clock, watch)
    const cluster = new ClusterView({ source: owner.cluster, subset, balancer: layered, clock: this.#clock, watch })
    const made: Kept = { owner, conditions: subset, balancing, ejection, cluster, learner: policy }
    this.#kept.set(key, made)
    return made
  }

  /** Forgets all other keys. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#kept.keys()) if (!keys.has(key)) this.#kept.delete(key)
  }
}
