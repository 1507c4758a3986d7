/**
 * Validates the headers that a caller gives and flattens them as undici takes them. Connection
 * headers and reserved ones are dropped silently, so that a handler may forward what it received.
 */

import { joinLines } from '../../core/field-value.ts'
import { isReserved, OF_CONNECTIONS, TOKEN } from '../../core/headers.ts'
import { OptionsError, show } from '../../options/fields.ts'

/** Response headers as undici reads them: names in lower case. */
export type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>

/** Headers as users give them: a `Headers`, pairs, or an object. */
export type HeadersInput =
  | Iterable<readonly [string, string]>
  | Readonly<Record<string, string | number | readonly string[] | undefined>>

const NEVER_SENT: ReadonlySet<string> = new Set(OF_CONNECTIONS)
/** Other characters split or truncate a message (RFC 9110, 5.5). */
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const OUTER_SPACE = /^[\t\n\r ]+|[\t\n\r ]+$/g

/**
 * Lower-case form of the names seen, `''` for those never sent. An application uses few names, and
 * checking each costs.
 */
const known = new Map<string, string>()
const MOST_KNOWN = 1_000

function lowerName(name: string): string {
  const cached = known.get(name)
  if (cached !== undefined) return cached
  if (typeof name !== 'string' || !TOKEN.test(name)) {
    throw new OptionsError('request', [{ path: ['headers'], message: `${show(name)} is no valid header name` }])
  }
  let lower = name.toLowerCase()
  if (NEVER_SENT.has(lower) || isReserved(lower)) lower = ''
  if (known.size < MOST_KNOWN) known.set(name, lower)
  return lower
}

function add(flat: string[], name: string, value: unknown): void {
  const lower = lowerName(name)
  if (lower === '') return
  let text = typeof value === 'string' ? value : textOf(lower, value)
  if (BAD_VALUE.test(text)) {
    // A trailing line end, as of a value read from a file, is no part of it (Fetch standard,
    // "normalize").
    text = text.replace(OUTER_SPACE, '')
    if (BAD_VALUE.test(text)) throw wrongValue(lower, 'text without control characters', value)
  }
  flat.push(lower, text)
}

function textOf(name: string, value: unknown): string {
  const type = typeof value
  if (type === 'number' || type === 'boolean' || type === 'bigint') return String(value)
  throw wrongValue(name, 'text, a number or a list of them', value)
}

function wrongValue(name: string, expected: string, value: unknown): OptionsError {
  return new OptionsError('request', [{ path: ['headers', name], message: `expected ${expected}, got ${show(value)}` }])
}

function addAll(flat: string[], name: string, value: unknown): void {
  if (Array.isArray(value)) for (const one of value) add(flat, name, one)
  else if (value !== undefined) add(flat, name, value)
}

/**
 * Checks and flattens the user's headers: `[name, value, ...]`, names in lower case.
 * @throws OptionsError naming the header that is wrong.
 */
export function flattenHeaders(headers: HeadersInput | undefined): string[] {
  const flat: string[] = []
  if (headers === undefined) return flat
  if (typeof headers !== 'object' || headers === null) {
    throw new OptionsError('request', [{ path: ['headers'], message: `expected an object, got ${show(headers)}` }])
  }
  if (Symbol.iterator in headers) {
    for (const pair of headers as Iterable<readonly [string, string]>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new OptionsError('request', [
          { path: ['headers'], message: `expected [name, value] pairs, got ${show(pair)}` },
        ])
      }
      addAll(flat, pair[0], pair[1])
    }
    return flat
  }
  for (const name in headers) {
    // As in fetch and undici: an inherited property is no header.
    if (Object.hasOwn(headers, name)) addAll(flat, name, (headers as Record<string, unknown>)[name])
  }
  return flat
}

/** The first line of `name` (lower case) in a flat array. */
export function flatHeader(flat: readonly string[], name: string): string | undefined {
  for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) return flat[i + 1]
  return undefined
}

/** All lines of `name` (lower case) in a flat array, as a receiver reads them. */
export function fieldValue(flat: readonly string[], name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) value = joinLines(name, value, flat[i + 1]!)
  return value
}
