/** The destination that owns endpoints, as the targets of routes see it. */
import type { Endpoint } from '../../core/endpoint.ts'
import type { Policy } from '../../core/policy.ts'
import type { ServiceCluster } from '../../discovery/cluster.ts'
import type { ServiceState } from '../../resilience/service-state.ts'
import type { ServiceSettings } from '../../resilience/settings.ts'
import type { RoutingSettings } from '../../routing/settings.ts'
import type { BalancerChoice, BalancerParts } from '../balancing/balancer.ts'
import type { MirrorsInFlight } from '../mirror/in-flight.ts'

export interface EndpointOwner {
  readonly service: string
  readonly cluster: ServiceCluster
  readonly state: ServiceState
  readonly settings: ServiceSettings
  readonly routing: RoutingSettings | undefined
  /** The copies of calls that are on their way to it. */
  readonly mirrors: MirrorsInFlight
  /** The part of its balancer that learns from attempts. */
  readonly learner: Policy | undefined
  /** The balancer of that choice, which keeps its estimates. */
  balancer(choice: BalancerChoice): BalancerParts
  /** `target` uses these endpoints, if each client uses a part; empty: none any more. */
  useFor(target: object, inUse: readonly Endpoint[]): void
  /** Calls `listener` after each change of its policy. Returns how to stop. */
  onConfigured(listener: () => void): () => void
}

/** Another service, watched and kept until it is released. */
export interface HeldOwner {
  readonly owner: EndpointOwner
  release(): void
}

/**
 * Finds the service of that name. @throws MeshError if this process calls as many services as it
 * can, or is closed
 */
export type HoldOwner = (service: string) => HeldOwner | undefined
