import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as reader from '../../../src/identity/x509/der-reader.ts'
import * as der from '../../../src/identity/x509/der-writer.ts'
import { craftLeaf, newAuthority } from '../../rigs/certificates.ts'

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex')

/** Everything a caller can ask of a node. */
const READS: readonly ((node: reader.DerNode) => unknown)[] = [
  reader.readBoolean,
  reader.readInteger,
  reader.readSmallInteger,
  reader.readBitString,
  reader.readObjectIdentifier,
  reader.readTime,
  (node) => reader.readChildren(node, der.TAG.sequence),
  (node) => reader.readContent(node, der.TAG.octetString),
]

function readEverything(bytes: Uint8Array): number {
  let nodes = 0
  const walk = (node: reader.DerNode): void => {
    nodes += 1
    for (const read of READS) {
      try {
        read(node)
      } catch (error) {
        expect(error).toBeInstanceOf(reader.DerError)
      }
    }
    for (const child of node.children ?? []) walk(child)
  }
  try {
    walk(reader.readDer(bytes))
  } catch (error) {
    expect(error).toBeInstanceOf(reader.DerError)
  }
  return nodes
}

describe('the DER reader', () => {
  test.each([
    ['nothing', ''],
    ['half a header', '30'],
    ['an indefinite length', '3080 0000'],
    ['a long length that fits the short form', '04 8101 00'],
    ['a length with a leading zero', `04 820080 ${'00'.repeat(128)}`],
    ['a length of four bytes', '04 8400000001 00'],
    ['a length beyond the end', '04 05 0000'],
    ['a child longer than its parent', '30 03 04 05 00'],
    ['bytes after the end', '0500 00'],
    ['a tag number above 30', '1f8101 00'],
    ['an end-of-contents mark', '0000'],
    ['a primitive sequence', '1000'],
    ['a constructed octet string', '2400'],
  ])('refuses %s', (_what, text) => {
    expect(() => reader.readDer(hex(text))).toThrow(reader.DerError)
  })

  test.each([
    ['a boolean of another value', '010101', reader.readBoolean],
    ['an empty integer', '0200', reader.readInteger],
    ['a padded integer', '02020001', reader.readInteger],
    ['a padded negative integer', '0202ff80', reader.readInteger],
    ['a negative small integer', '020180', reader.readSmallInteger],
    ['a bit string without its first byte', '0300', reader.readBitString],
    ['eight unused bits', '03020800', reader.readBitString],
    ['unused bits of nothing', '030101', reader.readBitString],
    ['unused bits that are set', '03020101', reader.readBitString],
    ['an object identifier that is cut off', '06022a86', reader.readObjectIdentifier],
    ['a padded object identifier', '06032a8001', reader.readObjectIdentifier],
    ['a time without seconds', '170b323630313031303030305a', reader.readTime],
    ['the 30th of February', '170d3236303233303030303030305a', reader.readTime],
  ])('refuses %s', (_what, text, read) => {
    const node = reader.readDer(hex(text))
    expect(() => read(node)).toThrow(reader.DerError)
  })

  test('refuses nesting deeper than 16, however little it is', () => {
    let bytes = der.sequence()
    for (let i = 0; i < 16; i++) bytes = der.sequence(bytes)
    expect(reader.readDer(bytes).children).toHaveLength(1)
    expect(() => reader.readDer(der.sequence(bytes))).toThrow(/deeper/)
    let deep = der.sequence()
    for (let i = 0; i < 5000; i++) deep = der.sequence(deep)
    expect(() => reader.readDer(deep)).toThrow(reader.DerError)
  })

  test('throws nothing but a DerError, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void readEverything(bytes)),
      { numRuns: 500 },
    )
  })

  test('throws nothing but a DerError for a certificate with a few bytes changed, cut or added', () => {
    const pem = craftLeaf(newAuthority()).cert
    const good = Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')
    expect(readEverything(good)).toBeGreaterThan(30)
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(edits, fc.nat(good.length), (changes, length) => {
        const bytes = Buffer.from(good)
        for (const [at, value] of changes) bytes[at] = value
        readEverything(bytes)
        readEverything(bytes.subarray(0, length))
      }),
      { numRuns: 300 },
    )
  })
})

describe('what the DER writer wrote', () => {
  test('is read back: integers, bits, object identifiers, times, strings of any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        const back = reader.readInteger(reader.readDer(der.integer(bytes)))
        expect(BigInt(`0x${Buffer.from(back).toString('hex')}`)).toBe(BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
      }),
    )
    fc.assert(
      fc.property(fc.nat(2), fc.nat(39), fc.array(fc.nat(2 ** 31 - 1), { maxLength: 8 }), (a, b, rest) => {
        const oid = [a, b, ...rest].join('.')
        expect(reader.readObjectIdentifier(reader.readDer(der.objectIdentifier(oid)))).toBe(oid)
      }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) / 1000 }), (seconds) => {
        expect(reader.readTime(reader.readDer(der.time(seconds * 1000)))).toBe(seconds * 1000)
      }),
    )
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const bytes = Buffer.alloc(length, 7)
      expect(Buffer.from(reader.readContent(reader.readDer(der.octetString(bytes)), 4)).equals(bytes)).toBe(true)
    }
    expect(reader.readBoolean(reader.readDer(der.boolean(true)))).toBe(true)
    expect(reader.readBitString(reader.readDer(der.bitString(hex('a0'), 5)))).toEqual({
      bytes: hex('a0'),
      unusedBits: 5,
    })
    expect(reader.readSmallInteger(reader.readDer(der.integer(65_535)))).toBe(65_535)
  })
})
