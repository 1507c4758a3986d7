/**
 * The endpoints of a mirror's target as mirrors see them: the same instances, each with connections
 * and load apart from those of calls. A mirror never takes a connection that a call waits for, and
 * never moves a call to another endpoint.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import { Endpoint } from '../../core/endpoint.ts'
import type { Picker } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { type BalancingClient, LayeredBalancer } from '../balancing/arranged.ts'
import { createBalancer } from '../balancing/balancer.ts'

export interface ShadowClusterParts {
  /** Those of calls to the same target, now. */
  readonly endpoints: () => readonly Endpoint[]
  readonly balancing: () => BalancingSettings
  readonly health: ClusterHealth
  readonly client: BalancingClient
  readonly clock: Clock
}

export class ShadowCluster implements ClusterHealth {
  readonly #parts: ShadowClusterParts
  #from: readonly Endpoint[] | undefined
  #by: BalancingSettings | undefined
  #picker: Picker | undefined
  /** The part of the balancer that learns, from mirrors only. */
  #learner: Policy | undefined

  constructor(parts: ShadowClusterParts) {
    this.#parts = parts
  }

  get learner(): Policy | undefined {
    return this.#learner
  }

  /** `undefined` if the target has no endpoint. */
  pick(call: Call, now: number): Endpoint | undefined {
    const endpoints = this.#parts.endpoints()
    if (endpoints.length === 0) return undefined
    const balancing = this.#parts.balancing()
    // A shadow was dropped: its instance is leaving, or has come back.
    const whole = endpoints.every(({ shadow }) => shadow !== undefined)
    if (this.#picker === undefined || !whole || endpoints !== this.#from || balancing !== this.#by) {
      this.#rebuild(endpoints, balancing)
    }
    // What calls have found out holds for mirrors, too; not the other way round.
    for (const { shadow, state, unreachable } of endpoints) {
      shadow!.state = state
      shadow!.unreachable = unreachable
    }
    return this.#picker!.pick(call, now)
  }

  // The health of the endpoints, for the picker.

  get panicking(): boolean {
    return this.#parts.health.panicking
  }

  get ejected(): number {
    return this.#parts.health.ejected
  }

  /** Calls find out whether an ejected endpoint has recovered. */
  due(): undefined {
    return undefined
  }

  #rebuild(endpoints: readonly Endpoint[], balancing: BalancingSettings): void {
    const { client, clock } = this.#parts
    const { balancer, policy } = createBalancer(balancing.balancer, clock, this, balancing.reportedWeights)
    this.#from = endpoints
    this.#by = balancing
    this.#learner = policy
    this.#picker = new LayeredBalancer(balancer, balancing, client, this, clock).picker(endpoints.map(shadowOf))
  }
}

function shadowOf(endpoint: Endpoint): Endpoint {
  endpoint.shadow ??= new Endpoint(endpoint.service, endpoint)
  const { shadow } = endpoint
  shadow.weight = endpoint.weight
  shadow.transports = endpoint.transports
  shadow.local = endpoint.local
  shadow.discoveredAt = endpoint.discoveredAt
  shadow.warmAt = endpoint.warmAt
  return shadow
}
