/** The traffic of one mesh, as it is reported to the registry; its parts know their states. */
import type { Endpoint } from '../core/endpoint.ts'
import { presentMarks } from '../telemetry/traffic/traffic-marks.ts'
import { TrafficReporter } from '../telemetry/traffic/traffic-reporter.ts'
import type { MeshContext } from './context.ts'
import type { Destinations } from './destinations.ts'
import type { Membership } from './membership.ts'

/** `undefined`: the user does not want it. */
export function reportTraffic(
  { settings, traffic: counts }: MeshContext,
  membership: Membership,
  destinations: Destinations,
): TrafficReporter | undefined {
  if (!settings.traffic) return undefined
  return new TrafficReporter({
    counts,
    clock: settings.clock,
    session: {
      get isReady() {
        return membership.registry?.isReady === true
      },
      send: (message) => membership.registry?.tellTraffic(message),
    },
    present: () => presentMarks(destinations.readings(), endpointsOf(destinations)),
  })
}

function* endpointsOf(destinations: Destinations): Iterable<Endpoint> {
  for (const { cluster } of destinations) yield* cluster.endpoints
}
