/**
 * Copies a request for its filters when the call is made. A filter may wait, and its caller may
 * change a body or a header meanwhile.
 */
import { isUint8Array } from 'node:util/types'
import type { BodyInput } from './body/body-input.ts'
import type { RequestBody } from './body/request.ts'
import { flattenHeaders } from './headers.ts'
import type { QueryInput } from './prepare-request.ts'
import type { HttpRequest, HttpRequestOptions } from './request-options.ts'

/** `body`: what was made of the body in `options`. */
export function copyRequest(
  method: string,
  path: string,
  options: HttpRequestOptions | undefined,
  body: RequestBody | undefined,
): HttpRequest {
  if (options === undefined) return { method, path }
  const own: { -readonly [K in keyof HttpRequest]: HttpRequest[K] } = { ...options, method, path }
  if (own.headers !== undefined) own.headers = ownLists(own.headers as Readonly<Record<string, string>>)
  if (own.query !== undefined) own.query = ownQuery(own.query)
  if (own.json !== undefined) own.json = ownJson(own.json, body)
  else if (own.body !== undefined && own.body !== null) own.body = ownBody(own.body, body)
  return own
}

/**
 * Headers that filters can spread, and lists that can be read again: an iterator is read but once.
 * @throws OptionsError
 */
export function readOnce(options: HttpRequestOptions): HttpRequestOptions {
  const { headers, query } = options
  const listed = isList(query) && !(query instanceof URLSearchParams)
  if (!isList(headers) && !listed) return options
  return {
    ...options,
    ...(isList(headers) && { headers: headersObject(headers as Iterable<readonly [string, string]>) }),
    ...(listed && { query: Array.from(query as Iterable<unknown>) as unknown as QueryInput }),
  }
}

function isList(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

/** In lower case; a name that comes several times has a list. */
function headersObject(headers: Iterable<readonly [string, string]>): Record<string, string | string[]> {
  const flat = flattenHeaders(headers)
  const values = new Map<string, string[]>()
  for (let i = 0; i < flat.length; i += 2) {
    const listed = values.get(flat[i]!)
    if (listed === undefined) values.set(flat[i]!, [flat[i + 1]!])
    else listed.push(flat[i + 1]!)
  }
  // Defines what it makes: a header may be called `__proto__`.
  return Object.fromEntries([...values].map(([name, all]) => [name, all.length === 1 ? all[0]! : all]))
}

function ownQuery(query: QueryInput): QueryInput {
  if (query instanceof URLSearchParams) return new URLSearchParams(query)
  if (Symbol.iterator in query) {
    return Array.from(query as unknown as Iterable<readonly [string, string]>, ownPair) as unknown as QueryInput
  }
  return ownLists(query)
}

function ownPair([name, value]: readonly [string, string]): [string, string] {
  return [name, value]
}

function ownLists<T>(given: Readonly<Record<string, T>>): Record<string, T> {
  const own = { ...given }
  for (const name in own) if (Array.isArray(own[name])) own[name] = [...own[name]] as T
  return own
}

/**
 * As it will be sent: a Date is text. What would not survive the way there and back stays as it is.
 */
function ownJson(given: unknown, body: RequestBody | undefined): unknown {
  const text = String(body?.content)
  const own: unknown = JSON.parse(text)
  return JSON.stringify(own) === text ? own : given
}

function ownBody(given: BodyInput, body: RequestBody | undefined): BodyInput {
  if (typeof given === 'string') return given
  if (given instanceof URLSearchParams) return new URLSearchParams(given)
  if (given instanceof FormData) return ownForm(given)
  if (Array.isArray(given)) return given.map((part) => (isUint8Array(part) ? Buffer.from(part) : part))
  // Already a copy.
  return isUint8Array(body?.content) && body.contentType === undefined ? body.content : given
}

function ownForm(given: FormData): FormData {
  const own = new FormData()
  for (const [name, value] of given) {
    if (typeof value === 'string') own.append(name, value)
    else own.append(name, value, value.name)
  }
  return own
}
