/** The instance that a server registers, with the address at which others reach it. */
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { LocalAddress } from '../core/endpoint.ts'
import type { Protocol } from '../core/protocol.ts'
import type { TransportName } from '../core/transport.ts'
import type { Instance } from '../discovery/instance.ts'

export interface Announcement {
  readonly service: string
  readonly host: string
  readonly port: number
  readonly advertise: string | undefined
  readonly protocol: Protocol
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly weight: number
  readonly metadata: Readonly<Record<string, string>>
  /** What the server offers, best first. */
  readonly transports: readonly TransportName[]
  readonly local: LocalAddress | undefined
}

/** Unique to each start, so that a restarted process inherits no state of its predecessor. */
export function newInstanceId(service: string): string {
  return `${service}-${randomBytes(6).toString('hex')}`
}

export function announcedInstance(id: string, announcement: Announcement): Instance {
  const { host, advertise, ...rest } = announcement
  return { ...rest, id, address: advertise ?? reachableAddress(host), state: 'ready' }
}

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** Replaces a wildcard address with the machine's first IPv4 address that is not loopback. */
function reachableAddress(host: string): string {
  if (!isWildcard(host)) return host
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { internal, address, family } of addresses ?? []) {
      if (!internal && family === 'IPv4') return address
    }
  }
  return '127.0.0.1'
}
