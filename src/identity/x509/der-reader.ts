/**
 * Reads DER (X.690) from strangers, strictly. Returns or throws a {@link DerError}, in linear time.
 */
import { TAG } from './der-writer.ts'

/** The only thing this file throws. */
export class DerError extends Error {
  override readonly name = 'DerError'
}

export interface DerNode {
  readonly tag: number
  /** The whole element, with tag and length. */
  readonly bytes: Uint8Array
  readonly content: Uint8Array
  /** Set if constructed. */
  readonly children: readonly DerNode[] | undefined
}

/** A certificate needs 8 levels, a name constraint a few more. */
const DEEPEST = 16

/** One element that fills `bytes` exactly. */
export function readDer(bytes: Uint8Array): DerNode {
  const node = readAt(bytes, 0, bytes.length, 0)
  if (node.bytes.length !== bytes.length) throw new DerError('there are bytes after the end of the element')
  return node
}

function readAt(bytes: Uint8Array, start: number, end: number, depth: number): DerNode {
  if (depth > DEEPEST) throw new DerError(`elements are nested deeper than ${DEEPEST}`)
  if (end - start < 2) throw new DerError('an element is cut off')
  const tag = bytes[start]!
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag number above 30')
  if ((tag & 0xdf) === 0) throw new DerError('an end-of-contents mark')
  let at = start + 1
  let length = bytes[at++]!
  if (length === 0x80) throw new DerError('an indefinite length')
  if (length > 0x80) {
    const size = length & 0x7f
    if (size > 3 || end - at < size) throw new DerError('a length that cannot be')
    length = 0
    for (let i = 0; i < size; i++) length = length * 256 + bytes[at++]!
    if (length < 0x80 || length < 256 ** (size - 1)) throw new DerError('a length that is not written shortest')
  }
  const stop = at + length
  if (stop > end) throw new DerError('an element is longer than what holds it')
  const constructed = (tag & 0x20) !== 0
  const universal = (tag & 0xc0) === 0
  const mustBeConstructed = (tag & 0x1f) === 0x10 || (tag & 0x1f) === 0x11
  if (universal && constructed !== mustBeConstructed) throw new DerError(`tag ${tag} in the wrong form`)
  let children: DerNode[] | undefined
  if (constructed) {
    children = []
    while (at < stop) {
      const child = readAt(bytes, at, stop, depth + 1)
      children.push(child)
      at += child.bytes.length
    }
    at = stop - length
  }
  return { tag, bytes: bytes.subarray(start, stop), content: bytes.subarray(at, stop), children }
}

/** The children of a constructed element with this tag. */
export function readChildren(node: DerNode | undefined, tag: number): readonly DerNode[] {
  if (node?.tag !== tag || node.children === undefined) throw new DerError(`expected an element with tag ${tag}`)
  return node.children
}

/** The content of a primitive element with this tag. */
export function readContent(node: DerNode | undefined, tag: number): Uint8Array {
  if (node?.tag !== tag || node.children !== undefined) throw new DerError(`expected an element with tag ${tag}`)
  return node.content
}

export function readBoolean(node: DerNode | undefined): boolean {
  const content = readContent(node, TAG.boolean)
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw new DerError('a boolean that is neither')
  return content[0] === 0xff
}

/** Two's complement, shortest. */
export function readInteger(node: DerNode | undefined): Uint8Array {
  const content = readContent(node, TAG.integer)
  if (content.length === 0) throw new DerError('an empty integer')
  if (content.length > 1) {
    const [first, second] = [content[0]!, content[1]!]
    if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) throw new DerError('a padded integer')
  }
  return content
}

/** A whole number from 0 to 2^31 - 1. */
export function readSmallInteger(node: DerNode | undefined): number {
  const content = readInteger(node)
  if (content.length > 4 || content[0]! >= 0x80) throw new DerError('an integer out of range')
  return content.reduce((sum, byte) => sum * 256 + byte, 0)
}

export function readBitString(node: DerNode | undefined): { readonly bytes: Uint8Array; readonly unusedBits: number } {
  const content = readContent(node, TAG.bitString)
  const unusedBits = content[0]
  const bytes = content.subarray(1)
  if (unusedBits === undefined || unusedBits > 7 || (unusedBits > 0 && bytes.length === 0)) {
    throw new DerError('a bit string that cannot be')
  }
  if (unusedBits > 0 && (bytes.at(-1)! & ((1 << unusedBits) - 1)) !== 0) {
    throw new DerError('a bit string whose unused bits are set')
  }
  return { bytes, unusedBits }
}

/** Dotted. */
export function readObjectIdentifier(node: DerNode | undefined): string {
  const content = readContent(node, TAG.oid)
  if (content.length === 0 || content.at(-1)! >= 0x80) throw new DerError('an object identifier that is cut off')
  const arcs: number[] = []
  let arc = 0
  let fresh = true
  for (const byte of content) {
    if ((fresh && byte === 0x80) || arc > 2 ** 45) throw new DerError('an object identifier that cannot be')
    arc = arc * 128 + (byte & 0x7f)
    fresh = byte < 0x80
    if (!fresh) continue
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(arc / 40))
      arcs.push(first, arc - first * 40)
    } else arcs.push(arc)
    arc = 0
  }
  return arcs.join('.')
}

/** In ms since 1970. Only the forms that RFC 5280 4.1.2.5 allows: UTC, with seconds. */
export function readTime(node: DerNode | undefined): number {
  const short = node?.tag === TAG.utcTime
  const text = Buffer.from(readContent(node, short ? TAG.utcTime : TAG.generalizedTime)).toString('latin1')
  const match = (short ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
    text,
  )
  if (match === null) throw new DerError('a time in a form that is not allowed')
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number)
  const fullYear = short ? year + (year < 50 ? 2000 : 1900) : year
  const at = Date.UTC(fullYear, month - 1, day, hour, minute, second)
  const check = new Date(at)
  const dateExists = check.getUTCFullYear() === fullYear && check.getUTCMonth() === month - 1
  if (!dateExists || check.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) {
    throw new DerError('a time that does not exist')
  }
  return at
}
