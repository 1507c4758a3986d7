/**
 * Which addresses a process may announce. An instance's address is where others will send requests, so it must not lead them to
 * their own loopback, to a cloud's metadata service or to everybody (faults-and-attacks A28).
 */
import { BlockList, isIP } from 'node:net'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

const NEVER = new BlockList()
// Unspecified, link-local (with the metadata service), multicast, broadcast.
NEVER.addSubnet('0.0.0.0', 8, 'ipv4')
NEVER.addSubnet('169.254.0.0', 16, 'ipv4')
NEVER.addSubnet('224.0.0.0', 3, 'ipv4')
NEVER.addAddress('::', 'ipv6')
NEVER.addSubnet('fe80::', 10, 'ipv6')
NEVER.addSubnet('ff00::', 8, 'ipv6')
NEVER.addAddress('fd00:ec2::254', 'ipv6')

/** `::ffff:10.0.0.1` as `10.0.0.1`. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  return mapped === null ? address : mapped[1]!
}

/** Whom a limit per source counts together: an IPv4 address, or the /64 network that one holder of IPv6 has. */
export function sourceGroup(source: string): string {
  const address = plainAddress(source).split('%', 1)[0]!
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.toLowerCase().split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0')
  return `${[...before, ...zeros, ...after].slice(0, 4).join(':')}::/64`
}

function contains(list: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

export function isLoopback(address: string): boolean {
  return address === 'localhost' || contains(LOOPBACK, plainAddress(address))
}

/** Why `announced` is refused for a peer that connects from `source`; `undefined` if it is fine. */
export function refuseAddress(announced: string, source: string): string | undefined {
  const address = plainAddress(announced)
  const from = plainAddress(source)
  if (isLoopback(address)) {
    return isLoopback(from) ? undefined : `a process at ${from} may not announce the loopback address ${address}`
  }
  if (contains(NEVER, address) && address !== from) return `${address} is not an address that others could be sent to`
  return undefined
}
