/** Builds captures for tests: TCP packets, and files around them. */

export interface PacketParts {
  readonly from?: string
  readonly to?: string
  readonly sequence: number
  readonly payload?: Buffer | string
  readonly flags?: number
}

export const SYN = 0x02
export const ACK = 0x10

/** An IPv4 packet with one TCP segment; `from` and `to` are `address:port`. */
export function ipv4({
  from = '10.0.0.1:40000',
  to = '10.0.0.2:8080',
  sequence,
  payload = '',
  flags = ACK,
}: PacketParts) {
  const [source, destination] = [from, to].map((one) => one.split(':')) as [string[], string[]]
  const content = Buffer.from(payload as string)
  const head = Buffer.alloc(40)
  head[0] = 0x45
  head.writeUInt16BE(40 + content.length, 2)
  head[8] = 64
  head[9] = 6
  for (const [at, address] of [
    [12, source[0]!],
    [16, destination[0]!],
  ] as const) {
    Buffer.from(address.split('.').map(Number)).copy(head, at)
  }
  writeTcp(head, 20, Number(source[1]), Number(destination[1]), sequence, flags)
  return Buffer.concat([head, content])
}

/** An IPv6 packet between fd00::1 and fd00::2, behind a hop-by-hop header. */
export function ipv6({ sequence, payload = '', flags = ACK }: PacketParts): Buffer {
  const content = Buffer.from(payload as string)
  const head = Buffer.alloc(68)
  head[0] = 0x60
  head.writeUInt16BE(28 + content.length, 4)
  for (const [at, last] of [
    [8, 1],
    [24, 2],
  ] as const) {
    head.writeUInt16BE(0xfd00, at)
    head[at + 15] = last
  }
  head[40] = 6
  writeTcp(head, 48, 40_000, 8_080, sequence, flags)
  return Buffer.concat([head, content])
}

function writeTcp(head: Buffer, at: number, from: number, to: number, sequence: number, flags: number): void {
  head.writeUInt16BE(from, at)
  head.writeUInt16BE(to, at + 2)
  head.writeUInt32BE(sequence, at + 4)
  head[at + 12] = 0x50
  head[at + 13] = flags
}

export function ethernet(packet: Buffer, vlan = false): Buffer {
  const type = packet[0]! >> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00]
  return Buffer.concat([Buffer.alloc(12), Buffer.from([...(vlan ? [0x81, 0x00, 0, 7] : []), ...type]), packet])
}

/** `snap`: bytes kept of each packet. */
export function pcap(packets: readonly Buffer[], { link = 1, little = true, snap = 262_144 } = {}): Buffer {
  const word = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    if (little) bytes.writeUInt32LE(value)
    else bytes.writeUInt32BE(value)
    return bytes
  }
  const head = [
    word(0xa1b2c3d4),
    little ? Buffer.from([2, 0, 4, 0]) : Buffer.from([0, 2, 0, 4]),
    word(0),
    word(0),
    word(snap),
    word(link),
  ]
  return Buffer.concat([
    ...head,
    ...packets.flatMap((packet, i) => {
      const kept = packet.subarray(0, snap)
      return [word(1_700_000_000), word(i * 1_000), word(kept.length), word(packet.length), kept]
    }),
  ])
}

export function pcapng(packets: readonly Buffer[], link = 1): Buffer {
  const block = (type: number, ...parts: Buffer[]): Buffer => {
    const content = Buffer.concat(parts)
    const padded = Buffer.concat([content, Buffer.alloc((4 - (content.length % 4)) % 4)])
    return Buffer.concat([words(type, padded.length + 12), padded, words(padded.length + 12)])
  }
  const words = (...values: number[]): Buffer => {
    const bytes = Buffer.alloc(values.length * 4)
    for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, i * 4)
    return bytes
  }
  return Buffer.concat([
    block(0x0a0d0d0a, words(0x1a2b3c4d, 1, 0xffffffff, 0xffffffff)),
    block(1, words(link, 0)),
    ...packets.map((packet, i) => block(6, words(0, 0, i * 1_000, packet.length, packet.length), packet)),
  ])
}
