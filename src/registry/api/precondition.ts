/**
 * Preconditions of a change (RFC 9110, 13). One that cannot be checked is refused, never ignored.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { invalid } from './error.ts'

/**
 * Whether the change may be made; `version` is that of the document in force, `undefined` if there
 * is none.
 */
export type Precondition = (version: number | undefined) => boolean

const CHECKED = ['if-match', 'if-none-match'] as const
const UNCHECKED = ['if-unmodified-since', 'if-modified-since', 'if-range'] as const
const LONGEST = 1_000
const ETAG = /^(W\/)?"([\x21\x23-\x7e]{0,64})"$/
const VERSION = /^[1-9]\d{0,15}$/

/**
 * The condition of `If-Match` and `If-None-Match`; `undefined` without them. @throws ApiError
 * `invalid-request`
 */
export function readPrecondition(headers: IncomingHttpHeaders): Precondition | undefined {
  refuseNamed(headers, UNCHECKED, 'is not checked here; give If-Match with a version')
  const match = read(headers, 'if-match')
  const noneMatch = read(headers, 'if-none-match')
  if (match === undefined && noneMatch === undefined) return undefined
  return (version) =>
    (match === undefined || (version !== undefined && (match === '*' || match.strong.has(version)))) &&
    (noneMatch === undefined || version === undefined || (noneMatch !== '*' && !noneMatch.all.has(version)))
}

/** For changes of what has no versions. @throws ApiError `invalid-request` */
export function refusePreconditions(headers: IncomingHttpHeaders, hint: string): void {
  refuseNamed(headers, [...CHECKED, ...UNCHECKED], hint)
}

interface Versions {
  /** If-Match takes strong tags only, If-None-Match takes weak ones too. */
  readonly strong: ReadonlySet<number>
  readonly all: ReadonlySet<number>
}

function read(headers: IncomingHttpHeaders, name: (typeof CHECKED)[number]): '*' | Versions | undefined {
  const value = headers[name]?.trim()
  if (value === undefined) return undefined
  if (value === '*') return '*'
  const strong = new Set<number>()
  const all = new Set<number>()
  // Empty items of a list are passed over (RFC 9110, 5.6.1.2).
  const items = value
    .slice(0, LONGEST + 1)
    .split(',')
    .filter((item, _, all) => all.length === 1 || item.trim() !== '')
  for (const item of items) {
    const text = item.trim()
    const tag = VERSION.test(text) ? ['', undefined, text] : ETAG.exec(text)
    if (tag === null || value.length > LONGEST) {
      throw invalid(name, [{ path: [], message: `expected '*' or versions such as "3", got '${value.slice(0, 100)}'` }])
    }
    // A tag that this registry does not give matches nothing.
    const version = VERSION.test(tag[2]!) ? Number(tag[2]) : Number.NaN
    all.add(version)
    if (tag[1] === undefined) strong.add(version)
  }
  if (all.size === 0) throw invalid(name, [{ path: [], message: 'expected a version' }])
  return { strong, all }
}

function refuseNamed(headers: IncomingHttpHeaders, names: readonly string[], hint: string): void {
  const given = names.find((name) => headers[name] !== undefined)
  if (given !== undefined) throw invalid(given, [{ path: [], message: hint }])
}
