/**
 * What a request carries to the next process: the user's headers, checked, and then ours, in one
 * flat array as undici takes it. Ours win; headers that belong to a single connection, and the
 * mesh's own from elsewhere, are left out silently, so that a handler may pass on the headers it
 * received.
 */

import type { Attempt } from '../../core/attempt.ts'
import { formatBaggage } from '../../core/baggage.ts'
import { formatTimeoutHeader } from '../../core/deadline.ts'
import { claimsIdentity, PREFIX, PREVIOUS_ATTEMPTS, TIMEOUT } from '../../core/headers.ts'
import { formatTraceparent } from '../../core/trace-context.ts'
import { OptionsError, show } from '../../options/fields.ts'

/** Headers as users give them: a `Headers`, pairs, or an object. */
export type HeadersInput =
  | Iterable<readonly [string, string]>
  | Readonly<Record<string, string | number | readonly string[] | undefined>>

/** They describe one connection or are computed by the client (RFC 9110, 7.6.1). */
const NEVER_SENT = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'expect',
])
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Anything else splits or truncates a message (RFC 9110, 5.5). */
const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const OUTER_SPACE = /^[\t\n\r ]+|[\t\n\r ]+$/g

/**
 * Lower-case form of the names seen, `''` for those never sent: names are few, checking and
 * lowering them is not free.
 */
const known = new Map<string, string>()
const MOST_KNOWN = 1_000

function lowerName(name: string): string {
  const cached = known.get(name)
  if (cached !== undefined) return cached
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new OptionsError('request', [{ path: ['headers'], message: `${show(name)} is no valid header name` }])
  }
  let lower = name.toLowerCase()
  if (NEVER_SENT.has(lower) || lower.startsWith(PREFIX) || claimsIdentity(lower)) lower = ''
  if (known.size < MOST_KNOWN) known.set(name, lower)
  return lower
}

function add(flat: string[], name: string, value: unknown): void {
  const lower = lowerName(name)
  if (lower === '') return
  let text = typeof value === 'string' ? value : textOf(lower, value)
  if (BAD_VALUE.test(text)) {
    // A line end behind a value, as of a file that was read, means nothing (Fetch standard,
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
    // As in fetch and undici: what somebody adds to all objects is no header.
    if (Object.hasOwn(headers, name)) addAll(flat, name, (headers as Record<string, unknown>)[name])
  }
  return flat
}

/** The value of `name` (lower case) in a flat array. */
export function flatHeader(flat: readonly string[], name: string): string | undefined {
  for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) return flat[i + 1]
  return undefined
}

/** All headers of one attempt. `given` is never changed: the next attempt needs it again. */
export function attemptHeaders(attempt: Attempt, given: readonly string[], now: number): string[] {
  const { call } = attempt
  const flat = ['host', call.route.service]
  const trace = attempt.trace ?? call.trace
  const baggage = call.baggage === undefined ? undefined : formatBaggage(call.baggage)
  for (let i = 0; i < given.length; i += 2) {
    const name = given[i]!
    if (trace !== undefined && (name === 'traceparent' || name === 'tracestate')) continue
    if (baggage !== undefined && name === 'baggage') continue
    flat.push(name, given[i + 1]!)
  }
  // A streaming response may outlast the deadline, which covers only its head; the callee would end
  // it.
  if (call.deadlineAt !== Number.POSITIVE_INFINITY && !call.route.streaming)
    flat.push(TIMEOUT, formatTimeoutHeader(call.deadlineAt - now))
  if (trace !== undefined) {
    flat.push('traceparent', formatTraceparent(trace))
    if (trace.state !== undefined) flat.push('tracestate', trace.state)
  }
  if (baggage !== undefined) flat.push('baggage', baggage)
  if (attempt.number > 0) flat.push(PREVIOUS_ATTEMPTS, String(attempt.number))
  return flat
}
