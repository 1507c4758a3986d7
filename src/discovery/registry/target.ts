/** Where one registry is: an address as given, or one of those that its name resolves to. */
import type { LookupAddress, LookupOptions } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { kindOfAddress } from '../../net/network-address.ts'

export interface RegistryTarget {
  /** As given. */
  readonly url: string
  /** One of several addresses of its name. `undefined`: the connection resolves it. */
  readonly ip: string | undefined
}

/** As events and errors name it. */
export function labelOf({ url, ip }: RegistryTarget): string {
  return ip === undefined ? url : `${url} (${ip})`
}

/** Without the brackets of IPv6. */
export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}

export function portOf(url: string): number {
  return Number(new URL(url).port || 443)
}

/** For `net.connect` and `tls.connect`: they connect to this address of the name. */
export function lookupOf({ ip }: RegistryTarget): { readonly lookup?: LookupFunction } {
  if (ip === undefined) return {}
  const family = isIP(ip)
  const lookup = (_host: string, { all }: LookupOptions, done: Parameters<LookupFunction>[2]): void => {
    if (all === true) done(null, [{ address: ip, family }] satisfies LookupAddress[])
    else done(null, ip, family)
  }
  return { lookup }
}

export function isOnLoopback({ url, ip }: RegistryTarget): boolean {
  return isLocal(hostOf(url)) && (ip === undefined || kindOfAddress(ip) === 'loopback')
}

/** Whether an address as given is on loopback. */
export function isLocal(host: string): boolean {
  return host === 'localhost' || host === '127.0.0.1' || host === '::1'
}
