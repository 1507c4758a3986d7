/** What a route and a target make of the endpoints of the service that owns them. */
import type { Clock } from '../../core/clock.ts'
import type { Balancer, Cluster } from '../../core/picker.ts'
import { ServiceCluster } from '../../discovery/cluster.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { RouteSettings, RoutingSettings, TargetSettings } from '../../routing/settings.ts'

/** Equal for targets that share a view. */
export function clusterKey({ name, own, policy }: RouteSettings, to: TargetSettings | undefined): string {
  const route = hasOwnPicker({ own, policy }) ? `@${name}` : ''
  return `${to?.key ?? ''}${route}`
}

/** Whether its calls choose among the same endpoints otherwise than those of the service. */
export function hasOwnPicker({ own, policy }: Pick<RouteSettings, 'own' | 'policy'>): boolean {
  if (own.has('ejection') && policy.ejection !== undefined) return true
  return OWN_PICKER.some((key) => own.has(key))
}

const OWN_PICKER = ['balancer', 'zone', 'subset'] as const

/** What the route writes, over the settings of the service that owns the endpoints. */
export function balancingOf({ own, policy }: RouteSettings, owner: BalancingSettings): BalancingSettings {
  const { balancer, reportedWeights, hashKey, zone, subsetSize, slowStartMs } = owner
  const under = { balancer, reportedWeights, hashKey, zone, subsetSize, slowStartMs }
  return Object.freeze({
    ...under,
    ...(own.has('balancer') && {
      balancer: policy.balancer,
      reportedWeights: policy.reportedWeights,
      hashKey: policy.hashKey,
      zone: policy.zone,
    }),
    ...(own.has('zone') && { zone: policy.zone }),
    ...(own.has('subset') && { subsetSize: policy.subsetSize }),
  })
}

/** Where the endpoints of a service would be that cannot be watched now. */
export function nowhere(service: string, clock: Clock): Cluster {
  return new ServiceCluster(service, () => NO_BALANCER, clock)
}

const NO_BALANCER: Balancer = { name: 'none', picker: () => ({ pick: () => undefined }) }

/** The services of all targets, mirrors and failover levels. */
export function servicesNamedBy({ routes, failover }: RoutingSettings): Set<string> {
  const copied = routes.flatMap(({ mirrors }) => mirrors.map(({ target }) => target))
  const targets = [...routes.flatMap((route) => route.targets), ...copied].map(({ service }) => service)
  const levels = [failover, ...routes.map((route) => route.failover)].flatMap((each) => each ?? [])
  return new Set([...targets, ...levels.flatMap((level) => (level.kind === 'service' ? (level.service ?? []) : []))])
}
