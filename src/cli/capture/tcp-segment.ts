/** Finds the TCP segment in a captured packet, through its link and IP headers. */
import type { Packet } from './packet-file.ts'

export interface Segment {
  /** `10.0.0.1:8080` or `[fd00::1]:8080`. */
  readonly from: string
  readonly to: string
  readonly sequence: number
  readonly syn: boolean
  readonly ack: boolean
  readonly fin: boolean
  readonly rst: boolean
  readonly payload: Buffer
  /** Payload bytes that were not captured. */
  readonly missing: number
}

const IPV4 = 0x0800
const IPV6 = 0x86dd
const VLAN: ReadonlySet<number> = new Set([0x8100, 0x88a8, 0x9100])
const TCP = 6
/** Hop-by-hop, routing and destination options. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60])

const ETHERNET = 1
const NULL = 0
const LOOP = 108
const COOKED = 113
const COOKED_2 = 276
const RAW: ReadonlySet<number> = new Set([12, 14, 101, 228, 229])

export const KNOWN_LINKS: ReadonlySet<number> = new Set([ETHERNET, NULL, LOOP, COOKED, COOKED_2, ...RAW])

/** `undefined` for what is no TCP, for fragments, and for packets cut within a header. */
export function segmentOf({ link, bytes, missing }: Packet): Segment | undefined {
  const at = networkAt(link, bytes)
  if (at === undefined || at >= bytes.length) return undefined
  const version = bytes[at]! >> 4
  if (version === 4) return inIpv4(bytes, at, missing)
  return version === 6 ? inIpv6(bytes, at, missing) : undefined
}

/** Where the IP header begins. */
function networkAt(link: number, bytes: Buffer): number | undefined {
  if (RAW.has(link)) return 0
  switch (link) {
    case NULL:
    case LOOP:
      return 4
    case COOKED:
      return afterType(bytes, 14)
    case COOKED_2:
      return afterType(bytes, 0, 20)
    case ETHERNET:
      return afterType(bytes, 12)
    default:
      return undefined
  }
}

function afterType(bytes: Buffer, typeAt: number, next = typeAt + 2): number | undefined {
  while (typeAt + 2 <= bytes.length) {
    const type = bytes.readUInt16BE(typeAt)
    if (type === IPV4 || type === IPV6) return next
    if (!VLAN.has(type)) return undefined
    typeAt = next + 2
    next += 4
  }
  return undefined
}

function inIpv4(bytes: Buffer, at: number, missing: number): Segment | undefined {
  if (at + 20 > bytes.length || bytes[at + 9] !== TCP) return undefined
  const fragment = bytes.readUInt16BE(at + 6)
  if ((fragment & 0x3fff) !== 0) return undefined
  const head = (bytes[at]! & 15) * 4
  if (head < 20) return undefined
  // 0: the network card cuts a larger packet later.
  const total = bytes.readUInt16BE(at + 2) || bytes.length + missing - at
  return inTcp(bytes, at + head, at + total, ipv4(bytes, at + 12), ipv4(bytes, at + 16))
}

function inIpv6(bytes: Buffer, at: number, missing: number): Segment | undefined {
  if (at + 40 > bytes.length) return undefined
  const length = bytes.readUInt16BE(at + 4) || bytes.length + missing - at - 40
  let next = bytes[at + 6]!
  let head = at + 40
  while (EXTENSIONS.has(next)) {
    if (head + 8 > bytes.length) return undefined
    next = bytes[head]!
    head += (bytes[head + 1]! + 1) * 8
  }
  if (next !== TCP) return undefined
  return inTcp(bytes, head, at + 40 + length, `[${ipv6(bytes, at + 8)}]`, `[${ipv6(bytes, at + 24)}]`)
}

function inTcp(bytes: Buffer, at: number, end: number, from: string, to: string): Segment | undefined {
  if (at + 20 > bytes.length) return undefined
  const payloadAt = at + (bytes[at + 12]! >> 4) * 4
  if (payloadAt < at + 20 || payloadAt > end) return undefined
  const flags = bytes[at + 13]!
  const payload = bytes.subarray(Math.min(payloadAt, bytes.length), Math.min(end, bytes.length))
  return {
    from: `${from}:${bytes.readUInt16BE(at)}`,
    to: `${to}:${bytes.readUInt16BE(at + 2)}`,
    sequence: bytes.readUInt32BE(at + 4),
    syn: (flags & 0x02) !== 0,
    ack: (flags & 0x10) !== 0,
    fin: (flags & 0x01) !== 0,
    rst: (flags & 0x04) !== 0,
    payload,
    missing: end - payloadAt - payload.length,
  }
}

function ipv4(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
}

/** With the longest run of zeros left out (RFC 5952). */
function ipv6(bytes: Buffer, at: number): string {
  const text = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + i * 2).toString(16)).join(':')
  let longest: RegExpExecArray | undefined
  for (const zeros of text.matchAll(/\b0(?::0)+\b/g)) {
    if (longest === undefined || zeros[0].length > longest[0].length) longest = zeros
  }
  if (longest === undefined) return text
  const end = longest.index + longest[0].length
  return `${text.slice(0, longest.index).replace(/:$/, '')}::${text.slice(end).replace(/^:/, '')}`
}
