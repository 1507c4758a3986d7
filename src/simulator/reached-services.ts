/** The services that calls may reach: the called one, and those to which documents lead. */
import { MESH_DOCUMENT, type PolicyDocument, resolvePolicy, type ServicePolicy } from '../discovery/policy-document.ts'

/** What is in force for each, the called one first. */
export function reachedServices(
  documents: readonly PolicyDocument[],
  called: string,
): ReadonlyMap<string, ServicePolicy> {
  const written = new Map(documents.map((document) => [document.service, document]))
  const mesh = written.get(MESH_DOCUMENT) ?? null
  const reached = new Map<string, ServicePolicy>()
  const open = [called]
  for (let service = open.pop(); service !== undefined; service = open.pop()) {
    if (reached.has(service)) continue
    const policy = resolvePolicy(mesh, written.get(service) ?? null)
    reached.set(service, policy)
    // What another service's routes say does not hold for calls that come by ours.
    if (service === called) open.push(...leadsTo(policy))
  }
  return reached
}

function leadsTo({ routing }: ServicePolicy): string[] {
  const levels = [...(routing?.failover ?? []), ...(routing?.routes.flatMap(({ failover = [] }) => failover) ?? [])]
  const targets = routing?.routes.flatMap((route) => route.targets) ?? []
  const services = [
    ...targets.map(({ service }) => service),
    ...levels.map((level) => (level.kind === 'service' ? level.service : undefined)),
  ]
  return [...new Set(services.filter((service) => service !== undefined))].reverse()
}
