import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isHexText, readHexText } from '../../../src/cli/capture/hex-dump.ts'
import { isPacketFile, readPackets } from '../../../src/cli/capture/packet-file.ts'
import { TcpDirection } from '../../../src/cli/capture/tcp-direction.ts'
import { type Segment, segmentOf } from '../../../src/cli/capture/tcp-segment.ts'
import { ethernet, ipv4, ipv6, pcap, pcapng, SYN } from './packets.ts'

const PACKET = ipv4({ sequence: 7, payload: 'hello' })

function segments(file: Buffer): Segment[] {
  return [...readPackets(file)].map(segmentOf).filter((one) => one !== undefined)
}

test.each([
  ['pcap, little endian', pcap([ethernet(PACKET)])],
  ['pcap, big endian', pcap([ethernet(PACKET)], { little: false })],
  ['pcapng', pcapng([ethernet(PACKET)])],
  ['a VLAN tag', pcap([ethernet(PACKET, true)])],
  ['raw IP', pcap([PACKET], { link: 101 })],
  ['loopback', pcap([Buffer.concat([Buffer.from([2, 0, 0, 0]), PACKET])], { link: 0 })],
  ['Linux cooked', pcap([Buffer.concat([Buffer.alloc(14), Buffer.from([8, 0]), PACKET])], { link: 113 })],
  ['Linux cooked 2', pcap([Buffer.concat([Buffer.from([8, 0]), Buffer.alloc(18), PACKET])], { link: 276 })],
])('a TCP segment is found in %s', (_form, file) => {
  expect(isPacketFile(file)).toBe(true)
  expect(segments(file)).toMatchObject([
    { from: '10.0.0.1:40000', to: '10.0.0.2:8080', sequence: 7, payload: Buffer.from('hello'), missing: 0 },
  ])
})

test('a TCP segment is found behind the extension headers of IPv6', () => {
  expect(segments(pcap([ethernet(ipv6({ sequence: 1, payload: 'a' }))]))).toMatchObject([
    { from: '[fd00::1]:40000', to: '[fd00::2]:8080', payload: Buffer.from('a') },
  ])
})

test('what the snap length cut off is counted', () => {
  expect(segments(pcap([ethernet(PACKET)], { snap: 56 }))).toMatchObject([{ payload: Buffer.from('he'), missing: 3 }])
})

test('a file that ends within a packet has the packets before it', () => {
  const file = pcap([ethernet(PACKET), ethernet(PACKET)])
  expect(segments(file.subarray(0, file.length - 1))).toHaveLength(1)
})

test('a length that no packet has is one clear error', () => {
  const file = pcap([ethernet(PACKET)])
  file.writeUInt32LE(0x7fffffff, 32)
  expect(() => segments(file)).toThrow('the capture is broken at byte 24: a packet of 2147483647 bytes')
})

test('no bytes of a capture do more than throw a failure', () => {
  const files = [pcap([ethernet(PACKET), ethernet(ipv6({ sequence: 1 }))]), pcapng([ethernet(PACKET)])]
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }),
      (file, changes) => {
        const bytes = Buffer.from(file)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        if (!isPacketFile(bytes)) return
        try {
          segments(bytes)
        } catch (error) {
          expect((error as Error).name).toBe('Failure')
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('segments in any order, twice and overlapping give the bytes in order', () => {
  const text = 'the bytes of one direction, in the order in which they were written'
  const pieces = fc.array(fc.tuple(fc.nat(text.length - 1), fc.integer({ min: 1, max: 20 })), { maxLength: 40 })
  // Also across the end of the circle of sequence numbers.
  fc.assert(
    fc.property(pieces, fc.constantFrom(0, 5, 0xffff_fff0), (cuts, origin) => {
      const whole: [number, number][] = Array.from({ length: Math.ceil(text.length / 8) }, (_, i) => [i * 8, 8])
      const order = [...cuts, ...whole.reverse()]
      const part = (sequence: number, payload: string, syn = false) =>
        segmentOf({ at: 0, link: 101, missing: 0, bytes: ipv4({ sequence, payload, flags: syn ? SYN : 0x10 }) })!
      const direction = new TcpDirection(part(origin, '', true))
      const read: Buffer[] = []
      for (const [at, length] of order) {
        read.push(...direction.add(part((origin + 1 + at) >>> 0, text.slice(at, at + length)), false))
      }
      expect(Buffer.concat(read).toString()).toBe(text)
      expect(direction.end()).toBe(undefined)
    }),
    { numRuns: 300 },
  )
})

test('a hole is named, and nothing after it is taken for what belongs there', () => {
  const part = (sequence: number, payload: string) =>
    segmentOf({ at: 0, link: 101, missing: 0, bytes: ipv4({ sequence, payload }) })!
  const direction = new TcpDirection(part(10, ''))
  expect(direction.fromStart).toBe(false)
  expect(Buffer.concat(direction.add(part(10, 'ab'), false)).toString()).toBe('ab')
  expect(direction.add(part(15, 'fg'), false)).toEqual([])
  expect(direction.end()).toBe('3 bytes are missing in the capture, and 2 bytes after them are not decoded')
})

const BYTES = Buffer.from('\0inmesh/1 and more', 'latin1')
const spaced = (bytes: Buffer): string => bytes.toString('hex').replace(/..(?=.)/g, '$& ')

test.each([
  ['digits', BYTES.toString('hex')],
  ['digits in lines', `${BYTES.toString('hex', 0, 9)}\n${BYTES.toString('hex', 9)}\n`],
  ['pairs with 0x and commas', spaced(BYTES).replace(/\w\w/g, '0x$&,')],
  [
    'xxd',
    '00000000: 0069 6e6d 6573 682f 3120 616e 6420 6d6f  .inmesh/1 and mo\n00000010: 7265                                     re\n',
  ],
  [
    'hexdump -C',
    '00000000  00 69 6e 6d 65 73 68 2f  31 20 61 6e 64 20 6d 6f  |.inmesh/1 and mo|\n00000010  72 65                                             |re|\n00000012\n',
  ],
  [
    'Wireshark',
    '0000   00 69 6e 6d 65 73 68 2f 31 20 61 6e 64 20 6d 6f   .inmesh/1 and mo\n0010   72 65                                             re\n',
  ],
])('hex is read as %s', (_form, text) => {
  expect(isHexText(Buffer.from(text))).toBe(true)
  expect(readHexText(text)).toEqual(BYTES)
})

test('a line that is no hex is named', () => {
  expect(() => readHexText('00 69\nxyz\n')).toThrow('line 2 is no hex dump: expected pairs of hex digits')
  expect(() => readHexText('00000000  00 00  |..|\n*\n')).toThrow(
    'line 2 is no hex dump: lines that repeat are left out',
  )
  expect(isHexText(BYTES)).toBe(false)
})
