/**
 * Where others reach what this process serves: the instance it registers, and the address it tells.
 */
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { Protocol } from '../core/protocol.ts'
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
}

/**
 * Unique to this start of the process, so that a restart is another instance and nothing of the old
 * one sticks to it.
 */
export function newInstanceId(service: string): string {
  return `${service}-${randomBytes(6).toString('hex')}`
}

export function announcedInstance(id: string, announcement: Announcement): Instance {
  const { host, advertise, ...rest } = announcement
  return { ...rest, id, address: advertise ?? reachableAddress(host), state: 'ready' }
}

/**
 * A wildcard address is nothing that others could call: then it is this machine's first address
 * that is not its own loopback.
 */
function reachableAddress(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { internal, address, family } of addresses ?? []) {
      if (!internal && family === 'IPv4') return address
    }
  }
  return '127.0.0.1'
}
