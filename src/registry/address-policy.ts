/**
 * Which addresses a process may announce: other processes will send requests there. Refuses their
 * loopback, metadata services and wildcards.
 */
import { isIP } from 'node:net'
import { canonicalAddress, groupsOf, kindOfAddress } from '../net/network-address.ts'

/** `::ffff:10.0.0.1` as `10.0.0.1`. */
export function plainAddress(address: string): string {
  return canonicalAddress(address) ?? address
}

/**
 * Whom a limit per source counts together: an IPv4 address, or the /64 network that one holder of
 * IPv6 has.
 */
export function sourceGroup(source: string): string {
  const address = plainAddress(source)
  return isIP(address) === 6 ? `${groupsOf(address).slice(0, 4).join(':')}::/64` : address
}

export function isLoopback(address: string): boolean {
  return kindOfAddress(address) === 'loopback'
}

/** Why `announced` is refused for a peer that connects from `source`; `undefined` if it is fine. */
export function refuseAddress(announced: string, source: string): string | undefined {
  const kind = kindOfAddress(announced)
  const from = plainAddress(source)
  const leads = plainAddress(announced)
  const shown = leads === announced ? announced : `${announced} (${leads})`
  if (kind === 'loopback') {
    return isLoopback(from) ? undefined : `a process at ${from} may not announce the loopback address ${shown}`
  }
  // Who proves a link-local address by connecting from it may have it.
  if (kind === 'forbidden' || (kind === 'link-local' && leads !== from))
    return `${shown} is not an address that others could be sent to`
  return undefined
}
