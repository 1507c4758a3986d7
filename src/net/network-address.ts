/**
 * Classifies network addresses: loopback, link-local, forbidden, ordinary. It accepts every
 * spelling that the system's resolver accepts (`0x7f.1`, `::ffff:7f00:1`, `LOCALHOST.`), because
 * any other bypasses the filter.
 */
import { BlockList, isIP, isIPv4 } from 'node:net'

/**
 * `loopback`: the connecting machine. `forbidden`: never a single process (unspecified, multicast,
 * broadcast), or the metadata service of a cloud. `link-local`: one network only. `name`: a host
 * name, not resolved yet.
 */
export type AddressKind = 'loopback' | 'forbidden' | 'link-local' | 'ordinary' | 'name'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

const FORBIDDEN = new BlockList()
FORBIDDEN.addSubnet('0.0.0.0', 8, 'ipv4')
FORBIDDEN.addSubnet('224.0.0.0', 3, 'ipv4')
// Link-local services of clouds: metadata, credentials, DNS, time.
for (const end of ['169.254', '169.253', '169.123', '170.2', '170.23', '0.23', '42.42'])
  FORBIDDEN.addAddress(`169.254.${end}`, 'ipv4')
FORBIDDEN.addAddress('fe80::a9fe:a9fe', 'ipv6')
// Metadata services elsewhere: Alibaba, Azure, Oracle; on IPv6 those of Amazon, Google and
// Scaleway.
FORBIDDEN.addAddress('100.100.100.200', 'ipv4')
FORBIDDEN.addAddress('168.63.129.16', 'ipv4')
FORBIDDEN.addAddress('192.0.0.192', 'ipv4')
FORBIDDEN.addAddress('fd00:ec2::254', 'ipv6')
FORBIDDEN.addAddress('fd00:ec2::23', 'ipv6')
FORBIDDEN.addAddress('fd20:ce::254', 'ipv6')
FORBIDDEN.addAddress('fd00:42::42', 'ipv6')
FORBIDDEN.addAddress('::', 'ipv6')
FORBIDDEN.addSubnet('ff00::', 8, 'ipv6')

const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4')
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')

const LOOPBACK_NAME =
  /^(?:localhost|[a-z0-9.-]{1,253}\.localhost|localhost[46]?(?:\.localdomain[46]?)?|(?:ip6-)?(?:localhost|loopback))$/
const METADATA_NAMES = new Set(['metadata', 'metadata.google.internal', 'metadata.goog', 'instance-data'])

/**
 * Networks that carry an IPv4 address in their last 32 bits: compatible, mapped, translated (RFC
 * 2765), NAT64.
 */
const EMBEDDING = ['0:0:0:0:0:0', '0:0:0:0:0:ffff', '0:0:0:0:ffff:0', '64:ff9b:0:0:0:0']
/** Local-use NAT64 (RFC 8215): operators take any network in here, usually of 96 bits. */
const LOCAL_NAT64 = '64:ff9b:1:'
/** In any network, this marks an ISATAP address (RFC 5214, 6.1); an IPv4 address follows. */
const ISATAP = /:(?:0|200):5efe$/
/** Teredo (RFC 4380) inverts all bits of the embedded address. */
const TEREDO = ['2001', '0'] as const

/** Classifies an address or a name, in any spelling that the resolver accepts. */
export function kindOfAddress(text: string): AddressKind {
  const address = canonicalAddress(text)
  if (address === undefined) {
    const name = bare(text)
    if (LOOPBACK_NAME.test(name)) return 'loopback'
    return METADATA_NAMES.has(name) ? 'forbidden' : 'name'
  }
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  if (LOOPBACK.check(address, family)) return 'loopback'
  if (FORBIDDEN.check(address, family)) return 'forbidden'
  return LINK_LOCAL.check(address, family) ? 'link-local' : 'ordinary'
}

/**
 * The address in its canonical spelling, an embedded IPv4 address unwrapped; `undefined` for a
 * name.
 */
export function canonicalAddress(text: string): string | undefined {
  const address = bare(text)
  const version = isIP(address)
  // The usual spelling already. Every accepted connection asks, so nothing is parsed for it.
  if (version === 4) return address
  return version === 6 ? (embedded(groupsOf(address)) ?? canonicalSpelling(address)) : readIPv4(address)
}

const USUAL = /^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/

/**
 * The canonical spelling of an address (RFC 5952), so that a listener has one name. A host name is
 * returned unchanged.
 */
export function canonicalSpelling(address: string): string {
  if (USUAL.test(address)) return address
  if (isIP(address) !== 6) return readIPv4(address) ?? address
  // A zone is no part of the address, and no URL accepts one.
  if (address.includes('%')) return address
  const groups = groupsOf(address.toLowerCase())
  // A mapped address is the same socket as the IPv4 address; translated and tunnelled ones are not.
  if (groups.slice(0, 6).join(':') === EMBEDDING[1]) return embedded(groups)!
  return new URL(`http://[${address}]`).hostname.slice(1, -1)
}

/** The eight groups of an IPv6 address, without leading zeros. */
export function groupsOf(address: string): string[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const hex = (high: number): string => (Number(dotted![high]) * 256 + Number(dotted![high + 1])).toString(16)
  const text = dotted === null ? address : `${dotted[1]}${hex(2)}:${hex(4)}`
  const [head = '', tail] = text.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].map((group) => group.replace(/^0{1,3}(?=.)/, ''))
}

/** Without brackets, zone and a trailing dot, in lower case. */
function bare(text: string): string {
  const inner = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  const address = inner.split('%', 1)[0]!.toLowerCase()
  return address.endsWith('.') ? address.slice(0, -1) : address
}

function embedded(groups: readonly string[]): string | undefined {
  const network = groups.slice(0, 6).join(':')
  const [high, low] = groups[0] === '2002' ? groups.slice(1, 3) : groups.slice(6)
  const inverted = groups[0] === TEREDO[0] && groups[1] === TEREDO[1] ? 0xffff : 0
  if (groups[0] !== '2002' && inverted === 0 && !embeds(network)) return undefined
  // `::` and `::1` are addresses in their own right.
  if (network === EMBEDDING[0] && high === '0' && (low === '0' || low === '1')) return undefined
  const bytes = (group: string): string => {
    const value = Number.parseInt(group, 16) ^ inverted
    return `${value >> 8}.${value & 255}`
  }
  return `${bytes(high!)}.${bytes(low!)}`
}

function embeds(network: string): boolean {
  return EMBEDDING.includes(network) || network.startsWith(LOCAL_NAT64) || ISATAP.test(network)
}

/**
 * Parses like `inet_aton`: one to four numbers, decimal, octal or hexadecimal, the last for all
 * remaining bytes.
 */
function readIPv4(text: string): string | undefined {
  const parts = text.split('.')
  if (parts.length > 4) return undefined
  const numbers = parts.map(readNumber)
  const last = numbers.pop()
  if (last === undefined || last >= 256 ** (4 - numbers.length)) return undefined
  if (numbers.some((one) => one === undefined || one > 255)) return undefined
  let value = last
  for (const [i, one] of numbers.entries()) value += one! * 256 ** (3 - i)
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}

function readNumber(given: string): number | undefined {
  // Any number of leading zeros is valid.
  const text = given.replace(/^(0x)?0+(?=[0-9a-f])/, (_, prefix: string | undefined) => prefix ?? '0')
  if (text.length > 32) return undefined
  if (/^0x[0-9a-f]+$/.test(text)) return Number.parseInt(text.slice(2), 16)
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8)
  return /^[1-9]\d*$/.test(text) ? Number(text) : undefined
}
