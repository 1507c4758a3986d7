/** Reads the packets of a capture file: pcap in both byte orders, and pcapng. */
import { EXIT, Failure } from '../failure.ts'

/** One packet as the capturing machine saw it. */
export interface Packet {
  /** Microseconds since 1970. */
  readonly at: number
  /** The link type, as tcpdump numbers them (LINKTYPE_…). */
  readonly link: number
  readonly bytes: Buffer
  /** Bytes that the capture left out (snap length). */
  readonly missing: number
}

const PCAP_HEAD = 24
const RECORD_HEAD = 16
/** No link carries larger packets; segmentation offload makes up to 256 KB. */
const LARGEST_PACKET = 1_048_576
const SECTION = 0x0a0d0d0a
const INTERFACE = 1
const SIMPLE = 3
const ENHANCED = 6
const TIME_RESOLUTION = 9

/** Of the first four bytes, read as big endian: the byte order, and units a second. */
const PCAP: ReadonlyMap<number, readonly [little: boolean, perSecond: number]> = new Map([
  [0xa1b2c3d4, [false, 1e6]],
  [0xd4c3b2a1, [true, 1e6]],
  [0xa1b23c4d, [false, 1e9]],
  [0x4d3cb2a1, [true, 1e9]],
])

/** Whether the bytes begin as a capture file does. */
export function isPacketFile(file: Buffer): boolean {
  if (file.length < 4) return false
  const magic = file.readUInt32BE(0)
  return magic === SECTION || PCAP.has(magic)
}

/** @throws Failure where the file is no longer a capture. A file cut within a packet just ends. */
export function readPackets(file: Buffer): Generator<Packet> {
  return file.readUInt32BE(0) === SECTION ? pcapng(file) : pcap(file)
}

class Numbers {
  readonly file: Buffer
  readonly little: boolean

  constructor(file: Buffer, little: boolean) {
    this.file = file
    this.little = little
  }

  u32(at: number): number {
    return this.little ? this.file.readUInt32LE(at) : this.file.readUInt32BE(at)
  }

  u16(at: number): number {
    return this.little ? this.file.readUInt16LE(at) : this.file.readUInt16BE(at)
  }
}

function broken(at: number, what: string): Failure {
  return new Failure(EXIT.invalid, 'invalid-capture', `the capture is broken at byte ${at}: ${what}`)
}

function* pcap(file: Buffer): Generator<Packet> {
  if (file.length < PCAP_HEAD) throw broken(0, `its header has ${PCAP_HEAD} bytes, and the file ${file.length}`)
  const [little, perSecond] = PCAP.get(file.readUInt32BE(0))!
  const numbers = new Numbers(file, little)
  // The upper bits say whether frames end with a check sum.
  const link = numbers.u32(20) & 0x0fff_ffff
  for (let at = PCAP_HEAD; at + RECORD_HEAD <= file.length; ) {
    const captured = numbers.u32(at + 8)
    if (captured > LARGEST_PACKET) throw broken(at, `a packet of ${captured} bytes`)
    const from = at + RECORD_HEAD
    if (from + captured > file.length) return
    yield {
      at: numbers.u32(at) * 1e6 + numbers.u32(at + 4) / (perSecond / 1e6),
      link,
      bytes: file.subarray(from, from + captured),
      missing: Math.max(0, numbers.u32(at + 12) - captured),
    }
    at = from + captured
  }
}

interface Interface {
  readonly link: number
  /** Microseconds a unit of its clock. */
  readonly unit: number
}

function* pcapng(file: Buffer): Generator<Packet> {
  let numbers = new Numbers(file, false)
  let interfaces: Interface[] = []
  let last = 0
  for (let at = 0; at + 12 <= file.length; ) {
    if (file.readUInt32BE(at) === SECTION) {
      if (at + 12 > file.length) return
      numbers = new Numbers(file, file.readUInt32BE(at + 8) !== 0x1a2b3c4d)
      interfaces = []
    }
    const type = numbers.u32(at)
    const length = numbers.u32(at + 4)
    if (length < 12 || length % 4 !== 0) throw broken(at, `a block of ${length} bytes`)
    const end = at + length
    if (end > file.length) return
    if (type === INTERFACE && length >= 20) {
      interfaces.push({ link: numbers.u16(at + 8), unit: unitOf(numbers, at + 16, end - 4) })
    } else if (type === ENHANCED && length >= 32) {
      const from = interfaces[numbers.u32(at + 8)]
      if (from === undefined) throw broken(at, 'a packet of an interface that was not described')
      last = (numbers.u32(at + 12) * 2 ** 32 + numbers.u32(at + 16)) * from.unit
      yield packet(numbers, at, 28, end, numbers.u32(at + 20), numbers.u32(at + 24), from.link, last)
    } else if (type === SIMPLE && length >= 16) {
      const original = numbers.u32(at + 8)
      const [from] = interfaces
      if (from === undefined) throw broken(at, 'a packet of an interface that was not described')
      yield packet(numbers, at, 12, end, Math.min(original, length - 16), original, from.link, last)
    }
    at = end
  }
}

function packet(
  { file }: Numbers,
  block: number,
  offset: number,
  end: number,
  captured: number,
  original: number,
  link: number,
  at: number,
): Packet {
  const from = block + offset
  if (from + captured > end - 4) throw broken(block, `a packet of ${captured} bytes in a shorter block`)
  return { at, link, bytes: file.subarray(from, from + captured), missing: Math.max(0, original - captured) }
}

/** Microseconds, from the options of an interface. */
function unitOf(numbers: Numbers, from: number, end: number): number {
  for (let at = from; at + 4 <= end; ) {
    const code = numbers.u16(at)
    const length = numbers.u16(at + 2)
    if (code === 0) break
    if (code === TIME_RESOLUTION && length >= 1 && at + 4 < end) {
      const resolution = numbers.file[at + 4]!
      const exponent = resolution & 0x7f
      return 1e6 * (resolution >= 0x80 ? 2 ** -exponent : 10 ** -exponent)
    }
    at += 4 + length + ((4 - (length % 4)) % 4)
  }
  return 1
}
