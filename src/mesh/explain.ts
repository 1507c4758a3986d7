/**
 * Explains a request as this process would send it: by the documents that it has, and the state of
 * endpoints as it sees them.
 */
import type { Destination } from '../client/destination.ts'
import { sleep } from '../core/clock.ts'
import { inboundCall } from '../core/context.ts'
import { explain, type ListedEndpoint } from '../discovery/explain.ts'
import { checkExplainOptions } from '../discovery/explain-request.ts'
import type { Explanation } from '../discovery/explanation.ts'
import { referencesOf } from '../routing/references.ts'
import type { Destinations } from './destinations.ts'
import type { Membership } from './membership.ts'
import type { MeshSettings } from './options.ts'

/** How long a service that was not called before may take to become known. */
const LONGEST_WAIT_MS = 5_000
const LOOK_MS = 10

/** @throws OptionsError naming each wrong field; MeshError `closed`, `no-endpoints` */
export async function explainCall(
  options: unknown,
  { service: caller, clock, metadata, transport }: Pick<MeshSettings, 'service' | 'clock' | 'metadata' | 'transport'>,
  membership: Membership,
  destinations: Destinations,
): Promise<Explanation> {
  const request = checkExplainOptions(options, caller, metadata.namespace, 'mesh.explain')
  const find = (service: string): Destination | undefined => destinations.find(request.protocol, service)
  const untilAt = clock.now() + LONGEST_WAIT_MS
  const known = async (service: string): Promise<void> => {
    find(service)
    while (membership.endpointsOf(service) === undefined && clock.now() < untilAt) await sleep(clock, LOOK_MS)
  }
  await known(request.service)
  const document = membership.documentOf(request.service)
  // A connection outlives the request that opens it, so nothing of that request counts.
  const cause = request.protocol === 'tcp' ? undefined : inboundCall()
  const baggage = cause?.baggage ?? request.baggage
  const overrides = request.overrides ?? cause?.overrides
  const others = new Set(document === null ? [] : referencesOf(document).map(({ service }) => service))
  const wanted = overrides?.targets.get(request.service)?.service
  if (wanted !== undefined) others.add(wanted)
  await Promise.all([...others].map(known))
  return explain(
    { ...request, baggage, overrides },
    {
      dev: membership.dev,
      transport,
      document: (service) => membership.documentOf(service),
      endpoints: (service) => {
        if (membership.endpointsOf(service) === undefined) return undefined
        const destination = find(service)
        return destination && endpointsOf(destination)
      },
    },
  )
}

function endpointsOf({ cluster }: Destination): ListedEndpoint[] {
  return cluster.all.map((endpoint) => {
    const { id, address, port, protocol, tls, zone, version, weight, metadata, transports, state } = endpoint
    const shown = cluster.isDraining(endpoint) ? 'draining' : state
    return { id, address, port, protocol, tls, zone, version, weight, metadata, transports, shown }
  })
}
