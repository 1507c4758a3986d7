/**
 * The clusters of a service's targets: the owner's whole cluster, or a view of a part of it. Views
 * are kept by key, so that pickers and waiting calls survive a change of the document.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Cluster } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { EjectionSettings } from '../../resilience/ejection-settings.ts'
import { HealthView } from '../../resilience/health-view.ts'
import { type BalancingClient, LayeredBalancer } from '../balancing/arranged.ts'
import { ClusterView, type Membership } from './cluster-view.ts'
import type { EndpointOwner } from './endpoint-owner.ts'

/** A part of an owner's endpoints, and how they are chosen. */
export interface ClusterWish {
  readonly owner: EndpointOwner
  /** The part, as the owner's document now defines it. */
  readonly members: () => Membership
  readonly balancing: BalancingSettings
  /** Of a route that writes it. */
  readonly ejection: EjectionSettings | undefined
}

export interface TargetCluster {
  readonly cluster: Cluster
  /** The part of its balancer that learns from attempts. */
  readonly learner: Policy | undefined
}

interface Kept {
  readonly wish: ClusterWish
  readonly made: TargetCluster
  readonly view: ClusterView
  /** Its owner needs no longer look after the endpoints that it used. */
  drop(): void
}

const NONE: readonly Endpoint[] = Object.freeze([])

export class TargetClusters {
  readonly #clock: Clock
  readonly #client: BalancingClient
  readonly #kept = new Map<string, Kept>()

  constructor(clock: Clock, client: BalancingClient) {
    this.#clock = clock
    this.#client = client
  }

  /** `key`: equal for wishes that share a view. */
  of(key: string, wish: ClusterWish): TargetCluster {
    const known = this.#kept.get(key)
    if (known !== undefined && isAlike(known.wish, wish)) {
      this.#kept.set(key, { ...known, wish })
      known.view.configure(wish.members())
      return known.made
    }
    const { owner, balancing, ejection } = wish
    const health = new HealthView(owner.state.ejection, this.#clock, ejection)
    const { balancer, policy } = owner.balancer(balancing)
    const watch = (inUse: readonly Endpoint[]): void => {
      health.watch(inUse)
      // Otherwise, the service's own picker uses all.
      owner.useFor(health, owner.settings.subsetSize === undefined ? NONE : inUse)
    }
    if (known !== undefined) known.drop()
    const layered = new LayeredBalancer(balancer, balancing, this.#client, health, this.#clock, watch)
    const parts = { source: owner.cluster, balancer: layered, clock: this.#clock, watch }
    const view = new ClusterView(parts, wish.members())
    const made = { cluster: view, learner: policy }
    this.#kept.set(key, { wish, made, view, drop: () => owner.useFor(health, NONE) })
    return made
  }

  /** An owner's document may define a subset otherwise, and calls may wait for its endpoints. */
  refresh(): void {
    for (const { view, wish } of this.#kept.values()) view.configure(wish.members())
  }

  /** Forgets all other keys. */
  keep(keys: ReadonlySet<string>): void {
    for (const [key, { drop }] of this.#kept) {
      if (keys.has(key)) continue
      this.#kept.delete(key)
      drop()
    }
  }
}

function isAlike(one: ClusterWish, other: ClusterWish): boolean {
  return (
    one.owner === other.owner &&
    isDeepStrictEqual(one.balancing, other.balancing) &&
    isDeepStrictEqual(one.ejection, other.ejection)
  )
}
