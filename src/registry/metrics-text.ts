/** The registry's own metrics, as Prometheus text. */
import type { ApiContext } from './api/context.ts'
import { type RegistryMetric, trafficMetrics } from './traffic/traffic-metrics.ts'

export function metricsText(context: ApiContext): string {
  const { state, hub, registrar, sessions, authority, audit, clock, fleet, traffic } = context
  let instances = 0
  let policies = 0
  for (const service of state.services.values()) {
    instances += service.instances.size
    if (service.policy?.document) policies += 1
  }
  const gauges: [name: string, help: string, value: number][] = [
    ['revision', 'Revision of the store.', state.revision],
    ['services', 'Services known.', state.services.size],
    ['instances', 'Instances registered.', instances],
    ['leases', 'Leases counted.', registrar.leases.size],
    ['frozen_services', 'Services whose expiry is frozen.', registrar.leases.frozenServices.length],
    ['leases_suspended', '1 while no instance expires, because the store is away.', registrar.leases.suspended ? 1 : 0],
    ['registries', 'Registries on the store, with this one.', fleet.peers.length + 1],
    ['store_writable', '1 while the store can be written.', state.store.status().writable ? 1 : 0],
    ['reaper', '1 while it counts the leases of registries that are gone.', fleet.leads ? 1 : 0],
    ['sessions', 'Sessions open.', sessions.size],
    ['watchers', 'Streams that watch.', hub.watchers],
    ['messages_encoded', 'Messages encoded for watchers.', hub.encoded],
    ['messages_delivered', 'Messages written to watchers.', hub.delivered],
    ['policies', 'Policy documents in force.', policies],
    ['join_tokens', 'Join tokens known.', state.tokens.size],
    ['audit_suppressed', 'Refusals not kept in the audit log.', audit.suppressed],
    [
      'root_expires_in_seconds',
      'Until the certificate of the root in use ends.',
      Math.round((authority.ends.root - clock.wallNow()) / 1000),
    ],
    [
      'issuer_expires_in_seconds',
      'Until the certificate of the authority that signs ends.',
      Math.round((authority.ends.issuer - clock.wallNow()) / 1000),
    ],
    ['bundle_sequence', 'Number of the trust bundle.', authority.sequence],
  ]
  const metrics = gauges.map(([name, help, value]): RegistryMetric => ({ name, help, type: 'gauge', value }))
  if (traffic !== undefined) metrics.push(...trafficMetrics(traffic))
  return metrics
    .map(({ name, help, type, value }) => {
      const full = `inmesh_registry_${name}`
      return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${full} ${value}\n`
    })
    .join('')
}
