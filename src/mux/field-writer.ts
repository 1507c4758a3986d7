/**
 * Writes header fields, and holds them to the rules that receivers check. Headers of a connection
 * are left out, so that a handler may forward what it received; names become lower case.
 */
import { writeLatin1 } from './bytes.ts'
import { isPadded, isPath, isText, RULE, ruleOf } from './field-rules.ts'
import { NAME_CODES } from './static-table.ts'

/** A part of a head that no peer would take. Nothing was sent. */
export class InvalidHead extends Error {
  override readonly name = 'InvalidHead'
  readonly code = 'ERR_INVALID_HEAD'
}

/** A call into C++ costs more than a short loop. */
const LOOPED_LENGTH = 40

/** 1 for the bytes that a value may have, and for those of a path. */
const TEXT = bytesOf(isText)
const PATH = bytesOf((text) => isPath(`/${text}`, ''))

function bytesOf(allowed: (text: string) => boolean): Uint8Array {
  return new Uint8Array(256).map((_, code) => (allowed(String.fromCharCode(code)) ? 1 : 0))
}

/** An upper bound of the bytes of `headers` as they are written. */
export function sizeOfHeaders(headers: readonly string[]): number {
  let bytes = 2
  for (let i = 0; i < headers.length; i++) bytes += headers[i]!.length + 2
  return bytes
}

/**
 * Writes the count of fields and the fields, except those at `skip`; returns where they end.
 *
 * @throws InvalidHead
 */
export function writeFields(
  piece: Buffer,
  from: number,
  headers: readonly string[],
  skipA = -1,
  skipB = -1,
  skipC = -1,
): number {
  let at = from + 2
  let count = 0
  for (let i = 0; i < headers.length; i += 2) {
    if (i === skipA || i === skipB || i === skipC) continue
    const name = headers[i]!
    const value = headers[i + 1]!
    const code = NAME_CODES.get(name)
    if (code === undefined) {
      const lower = name.toLowerCase()
      const rule = ruleOf(lower)
      if (rule === RULE.CONNECTION) continue
      if (rule === RULE.INVALID) throw new InvalidHead(`the name of a header is invalid: ${JSON.stringify(name)}`)
      const known = NAME_CODES.get(lower)
      if (known !== undefined) {
        if (known === TE && value !== 'trailers') continue
        piece[at++] = known
      } else {
        piece[at++] = 0
        piece[at++] = lower.length
        at = writeText(piece, at, lower, name)
      }
    } else {
      if (code === TE && value !== 'trailers') continue
      piece[at++] = code
    }
    at = writeValue(piece, at, value, name)
    count += 1
  }
  piece[from] = count >> 8
  piece[from + 1] = count & 255
  return at
}

const TE = NAME_CODES.get('te')!

/** `u16 length · text`. */
function writeValue(piece: Buffer, at: number, value: string, name: string): number {
  const text = isPadded(value) ? value.trim() : value
  piece[at] = text.length >> 8
  piece[at + 1] = text.length & 255
  return writeText(piece, at + 2, text, name)
}

/** @throws InvalidHead naming `what`, if latin1 has no such text or it has control characters. */
export function writeText(piece: Buffer, from: number, text: string, what: string): number {
  if (text.length < LOOPED_LENGTH) {
    if (!writeShort(piece, from, text, TEXT)) throw wrongText(what)
    return from + text.length
  }
  if (!isText(text)) throw wrongText(what)
  return from + writeLatin1(piece, text, from)
}

/** `u16 length · path`; -1 if it is no path. */
export function writePath(piece: Buffer, at: number, path: string, method: string): number {
  const { length } = path
  const short = length < LOOPED_LENGTH && path.charCodeAt(0) === SLASH
  if (short ? !writeShort(piece, at + 2, path, PATH) : !isPath(path, method)) return -1
  piece[at] = length >> 8
  piece[at + 1] = length & 255
  return short ? at + 2 + length : at + 2 + writeLatin1(piece, path, at + 2)
}

const SLASH = 0x2f

/** Whether all of its characters are in `allowed`. */
function writeShort(piece: Buffer, from: number, text: string, allowed: Uint8Array): boolean {
  const { length } = text
  let valid = 1
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    valid &= code < 256 ? allowed[code]! : 0
    piece[from + i] = code
  }
  return valid === 1
}

function wrongText(what: string): InvalidHead {
  return new InvalidHead(`${what} has a character that no head may have`)
}

/** Like {@link writeFields}, without writing. @throws InvalidHead */
export function checkFields(headers: readonly string[]): void {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (ruleOf(name.toLowerCase()) === RULE.INVALID) {
      throw new InvalidHead(`the name of a header is invalid: ${JSON.stringify(name)}`)
    }
    if (!isText(headers[i + 1]!)) throw wrongText(name)
  }
}
