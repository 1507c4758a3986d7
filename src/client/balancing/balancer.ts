/**
 * Creates a balancer by name. A new one needs a class beside this file, its name in
 * `resilience/balancing-settings.ts`, and a case here.
 */
import type { Clock } from '../../core/clock.ts'
import type { Balancer } from '../../core/picker.ts'
import type { Policy } from '../../core/policy.ts'
import type { BalancerName, BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { LeastLoad } from './least-load.ts'
import { LeastRequest } from './least-request.ts'
import { maglev } from './maglev.ts'
import { PeakEwma } from './peak-ewma.ts'
import { ReportedWeights } from './reported-weights.ts'
import { ringHash } from './ring-hash.ts'
import { RoundRobin } from './round-robin.ts'
import { WeightedRoundRobin } from './weighted-round-robin.ts'

/** A balancer and, if it learns from attempts, the policy by which it does (`stack.endpoint`). */
export interface BalancerParts {
  readonly balancer: Balancer
  readonly policy: Policy | undefined
}

/** What is asked for. */
export type BalancerChoice = Pick<BalancingSettings, 'balancer' | 'reportedWeights'>

/** Equal for choices that share a balancer. */
export function keyOf({ balancer, reportedWeights }: BalancerChoice): string {
  return reportedWeights ? `${balancer}, reported` : balancer
}

/**
 * Made once per service and choice, so that its estimates survive changes of endpoints and
 * configuration.
 */
export function createBalancer(
  name: BalancerName,
  clock: Clock,
  health: ClusterHealth | undefined,
  reportedWeights = false,
): BalancerParts {
  switch (name) {
    case 'least-load': {
      const balancer = new LeastLoad(clock, health)
      return { balancer, policy: balancer }
    }
    case 'peak-ewma': {
      const balancer = new PeakEwma(clock, health)
      return { balancer, policy: balancer }
    }
    case 'least-request':
      return { balancer: new LeastRequest(clock, health), policy: undefined }
    case 'round-robin':
      return { balancer: new RoundRobin(health, clock), policy: undefined }
    case 'weighted-round-robin':
      if (reportedWeights) {
        const balancer = new ReportedWeights(clock, health)
        return { balancer, policy: balancer }
      }
      return { balancer: new WeightedRoundRobin(clock, health), policy: undefined }
    case 'ring-hash': {
      const balancer = ringHash(clock, health)
      return { balancer, policy: balancer }
    }
    case 'maglev': {
      const balancer = maglev(clock, health)
      return { balancer, policy: balancer }
    }
  }
}
