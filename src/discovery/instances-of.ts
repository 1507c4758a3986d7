/** The instances of a service that speak one protocol. */
import type { Protocol } from '../core/protocol.ts'
import type { Instance } from './instance.ts'
import type { ServiceEndpoints } from './resolver.ts'

/** Returns the same list if all instances speak the protocol. */
export function instancesOf(endpoints: ServiceEndpoints, protocol: Protocol): readonly Instance[] {
  if (endpoints.protocol === protocol) return endpoints.instances
  return endpoints.instances.filter((instance) => instance.protocol === protocol)
}
