/** The pages of the admin listener: effective configuration, endpoints with load, last events. */
import { knownLoad } from '../client/balancing/known-load.ts'
import type { AdminPages } from '../telemetry/admin.ts'
import { HystrixStreams } from '../telemetry/hystrix/stream.ts'
import type { MeshContext } from './context.ts'
import type { Destinations } from './destinations.ts'
import type { Membership } from './membership.ts'

/** `leaving`: whether the process drains. */
export function adminPages(
  shared: MeshContext,
  membership: Membership,
  destinations: Destinations,
  leaving: () => boolean,
): AdminPages {
  const { settings, metrics, recent, identity } = shared
  const { clock } = settings
  return {
    metrics: (openMetrics) => (openMetrics ? metrics.openMetrics() : metrics.text()),
    config: () => ({
      service: settings.service,
      stale: membership.stale,
      registry: settings.registry,
      connected: membership.registry?.connected === true,
      own: membership.policyOf(settings.service),
      services: Object.fromEntries(
        [...destinations].map((destination) => [
          destination.service,
          {
            revision: membership.revisionOf(destination.service),
            stale: destination.known?.stale,
            frozen: destination.known?.frozen,
            settings: destination.settings,
          },
        ]),
      ),
    }),
    endpoints: () =>
      Object.fromEntries(
        [...destinations].map(({ service, cluster }) => [
          service,
          cluster.endpoints.map((endpoint) => ({
            id: endpoint.id,
            address: endpoint.label,
            zone: endpoint.zone,
            version: endpoint.version,
            weight: endpoint.weight,
            transports: endpoint.transports,
            state: endpoint.state,
            draining: cluster.isDraining(endpoint),
            inFlight: endpoint.pending,
            ...knownLoad(endpoint, clock.now()),
          })),
        ]),
      ),
    hystrix: new HystrixStreams({
      ...{ service: settings.service, metrics, clock },
      circuits: () => destinations.circuits(),
    }),
    events: () => recent.recent(),
    notReady: () => {
      if (leaving()) return 'draining'
      if (!identity.present) return 'not joined: no certificate yet'
      return membership.revisionOf(settings.service) === undefined ? 'not joined: no snapshot yet' : undefined
    },
    health: () => ({ ok: identity.present, stale: membership.stale }),
  }
}
