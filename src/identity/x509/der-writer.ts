/**
 * Writes the few types of DER (X.690) that certificates and signing requests need.
 */
export const TAG = Object.freeze({
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
})

export function tlv(tag: number, content: Uint8Array): Buffer {
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const size: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) size.unshift(rest % 256)
  return Buffer.concat([Buffer.from([tag, 0x80 | size.length, ...size]), content])
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tlv(TAG.sequence, Buffer.concat(parts))
}

export function set(...parts: readonly Uint8Array[]): Buffer {
  return tlv(TAG.set, Buffer.concat(parts))
}

/** A non-negative integer, from big-endian bytes or a small number. */
export function integer(value: Uint8Array | number): Buffer {
  let bytes = typeof value === 'number' ? Buffer.from([value >> 8, value & 0xff]) : Buffer.from(value)
  while (bytes.length > 1 && bytes[0] === 0 && bytes[1]! < 0x80) bytes = bytes.subarray(1)
  if (bytes.length === 0 || bytes[0]! >= 0x80) bytes = Buffer.concat([Buffer.from([0]), bytes])
  return tlv(TAG.integer, bytes)
}

export function boolean(value: boolean): Buffer {
  return tlv(TAG.boolean, Buffer.from([value ? 0xff : 0x00]))
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return tlv(TAG.bitString, Buffer.concat([Buffer.from([unusedBits]), bytes]))
}

export function octetString(bytes: Uint8Array): Buffer {
  return tlv(TAG.octetString, bytes)
}

export function utf8String(text: string): Buffer {
  return tlv(TAG.utf8String, Buffer.from(text, 'utf8'))
}

export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes: number[] = []
  for (let arc of [first * 40 + second, ...rest]) {
    const groups = [arc % 128]
    for (arc = Math.floor(arc / 128); arc > 0; arc = Math.floor(arc / 128)) groups.unshift(0x80 | (arc % 128))
    bytes.push(...groups)
  }
  return tlv(TAG.oid, Buffer.from(bytes))
}

/** Whole seconds. UTCTime until 2049, GeneralizedTime from then on, as RFC 5280 4.1.2.5 has it. */
export function time(at: number): Buffer {
  const digits = new Date(at)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '')
  return digits < '2050'
    ? tlv(TAG.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : tlv(TAG.generalizedTime, Buffer.from(digits, 'latin1'))
}

/** A context-specific tag around bytes (implicit, primitive). */
export function implicit(number: number, bytes: Uint8Array): Buffer {
  return tlv(0x80 | number, bytes)
}

/** A context-specific tag around whole elements (explicit, or implicit constructed). */
export function explicit(number: number, ...parts: readonly Uint8Array[]): Buffer {
  return tlv(0xa0 | number, Buffer.concat(parts))
}
