/** Which hosts are services of the mesh. */
import { MeshError } from '../../core/errors.ts'
import { bareHost } from '../../net/bare-host.ts'
import { either } from '../../options/composed-fields.ts'
import { instance, list, optional } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import type { FindService } from '../selection.ts'
import type { Transport } from '../transport.ts'
import type { HttpService } from './call.ts'
import type { RequestPool } from './connection-user.ts'

/**
 * Hosts that are services besides `*.mesh`: names of services, which are hosts by themselves; or a
 * function, which gets a host in lower case and returns the name of its service, `true` for the
 * first label of the host, or `false`.
 */
export type ServiceHosts = readonly string[] | ((host: string) => string | boolean | undefined)

export const SERVICE_HOSTS = optional(
  either(
    list(serviceName(), { max: 10_000 }),
    instance<Exclude<ServiceHosts, readonly string[]>>('a function (host)', (value) => typeof value === 'function'),
  ),
)

/**
 * The service of a host; `undefined`: the host is not of the mesh.
 * @throws MeshError `not-in-mesh` if it is meant to be one, and no service has such a name
 */
export type FindHost = (host: string) => HttpService | undefined

export function findHosts(find: FindService<Transport<RequestPool>>, services: ServiceHosts | undefined): FindHost {
  const isListed = typeof services === 'function' ? services : listed(services)
  return (given) => {
    const host = bareHost(given)
    const answer = host.endsWith('.mesh') ? (serviceOf(host) ?? '') : isListed?.(host)
    if (answer === undefined || answer === false) return undefined
    const found = find(answer === true ? host.split('.', 1)[0]! : answer)
    if (found === undefined) throw notInMesh(host)
    return found
  }
}

function listed(services: readonly string[] | undefined): ((host: string) => string | undefined) | undefined {
  if (services === undefined || services.length === 0) return undefined
  const names = new Set(services)
  return (host) => (names.has(host) ? host : undefined)
}

/** The service that a host name means, or `undefined`. */
export function serviceOf(host: string): string | undefined {
  const bare = host.endsWith('.mesh.') ? host.slice(0, -1) : host
  if (bare.endsWith(MESH_SUFFIX)) {
    const name = bare.slice(0, -MESH_SUFFIX.length)
    return name.includes('.') ? undefined : name
  }
  return host === 'localhost' || host.includes('.') || host.includes(':') ? undefined : host
}

export function notInMesh(host: string): MeshError {
  const message = `'${host}' is no service of this mesh. A service is called by its name alone or as '<service>.mesh'. For other hosts use the built-in fetch, or a mesh fetch with \`passthrough: true\`.`
  return new MeshError(message, { code: 'not-in-mesh', service: host })
}

const MESH_SUFFIX = '.mesh'
