/** The gauges of one mesh, read from its parts when metrics are scraped. */
import { meterFunctions } from '../telemetry/function-metrics.ts'
import { LoopDelay } from '../telemetry/loop-delay.ts'
import { registerMeshGauges } from '../telemetry/mesh-gauges.ts'
import type { MeshContext } from './context.ts'
import type { Destinations } from './destinations.ts'
import type { Membership } from './membership.ts'
import type { Servers } from './servers.ts'

/** Returns how to remove them. */
export function registerGauges(
  { settings, metrics, meters, identity }: MeshContext,
  membership: Membership,
  destinations: Destinations,
  servers: Servers,
): () => void {
  const { service, clock } = settings
  const gauges = registerMeshGauges(metrics, {
    service,
    peers: () => destinations.readings(),
    certificateNotAfter: () => (identity.present ? identity.current.notAfter : undefined),
    wallNow: () => clock.wallNow(),
    snapshotAgeMs: () => {
      const heardAt = membership.registry?.heardAt
      return heardAt === undefined ? undefined : clock.now() - heardAt
    },
    configRevision: () => membership.revisionOf(service),
    registryConnected: () => membership.registry?.connected,
    concurrencyLimit: () => servers.concurrencyLimit,
    globalRate: () => servers.globalRate,
    loopDelay: new LoopDelay(clock),
  })
  const functions = meterFunctions(metrics, service)
  meters?.start()
  return () => {
    meters?.stop()
    gauges()
    functions()
  }
}
