/**
 * What callers write about a client or about one request, checked before anything is sent. Per
 * request it is a loop, not a description of fields.
 */
import {
  check,
  fields,
  flag,
  instance,
  list,
  type OptionsError,
  optional,
  show,
  withDefault,
} from '../../options/fields.ts'
import { didYouMean, nearest } from '../../options/nearest.ts'
import { duration } from '../../options/quantities.ts'
import type { SharingSettings } from '../../resilience/shared-results.ts'
import { checkKey, checkSignal, mistake } from '../call-options.ts'
import type { HttpFilter, HttpRequestOptions } from './client.ts'
import { LONGEST_IDLE_MS } from './prepare-request.ts'

const REQUEST_KEYS: ReadonlySet<string> = new Set([
  'headers',
  'body',
  'json',
  'query',
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'key',
  'streaming',
  'idleTimeout',
] satisfies (keyof HttpRequestOptions)[])

/**
 * Timeout, headers, query and body are checked where they are used. @throws OptionsError naming the
 * first field that is wrong
 */
export function checkRequestOptions(options: HttpRequestOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw mistake([], `expected an object of options, got ${show(options)}`)
  }
  for (const key in options) {
    if (REQUEST_KEYS.has(key)) continue
    const hint = didYouMean(key, REQUEST_KEYS) || `; valid keys are ${[...REQUEST_KEYS].join(', ')}`
    throw mistake([key], `unknown key${hint}`)
  }
  const { idempotent, retry, streaming, signal, key } = options
  if (options.json !== undefined && options.body !== undefined && options.body !== null) {
    throw mistake(['json'], 'stands instead of body; expected only one of the two')
  }
  if (idempotent !== undefined && typeof idempotent !== 'boolean') throw notLogical('idempotent', idempotent)
  if (streaming !== undefined && typeof streaming !== 'boolean') throw notLogical('streaming', streaming)
  if (retry !== undefined && retry !== false) {
    throw mistake(['retry'], `expected false for one attempt only, or nothing, got ${show(retry)}`)
  }
  checkSignal(signal)
  if (key !== undefined) checkKey(key)
}

/** Options that no document is made of; `body`, `query` and `key` are fields of many. */
const TELLTALES: ReadonlySet<string> = new Set([
  'json',
  'headers',
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'streaming',
  'idleTimeout',
] satisfies (keyof HttpRequestOptions)[])

/**
 * Refuses options in the place of the body of `post`, `put` and `patch`, where they would be sent
 * as JSON, and a second body among the options. An object is taken for a body if any options follow
 * it, or if a field is no option.
 * @throws OptionsError
 */
export function checkBody(body: unknown, options: HttpRequestOptions | undefined): void {
  if (options !== undefined && options !== null && typeof options === 'object') {
    const second =
      options.json !== undefined ? 'json' : options.body !== undefined && options.body !== null ? 'body' : undefined
    if (second !== undefined) throw mistake([second], 'the body was given already, as the second argument')
  } else if (isOptions(body)) {
    const hint = 'the order is (path, body, options): pass undefined as the body, or {} after a body of these fields'
    throw mistake(['body'], `expected a body, got what looks like options (${Object.keys(body).join(', ')}); ${hint}`)
  }
}

/** Short names are near to too many others. */
function isMistyped(key: string): boolean {
  return key.length > 4 && nearest(key, REQUEST_KEYS) !== undefined
}

function isOptions(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  const keys = Object.keys(value)
  return keys.some((key) => TELLTALES.has(key)) && keys.every((key) => REQUEST_KEYS.has(key) || isMistyped(key))
}

/**
 * @throws OptionsError for an argument behind the last one, such as
 * `delete(path, undefined, options)`
 */
export function refuseMore(): never {
  const message = 'expected no argument behind the options: only post, put and patch take a body before them'
  throw mistake([], message)
}

function notLogical(field: string, value: unknown): OptionsError {
  return mistake([field], `expected true or false, got ${show(value)}`)
}

const CLIENT_FIELDS = fields({
  filters: withDefault(
    list(
      instance<HttpFilter>('a function (request, call, next)', (value) => typeof value === 'function'),
      { max: 64 },
    ),
    Object.freeze([]),
  ),
  collapse: optional(flag()),
  cache: optional(duration({ min: 1, max: 3_600_000 })),
  idleTimeout: optional(duration({ min: 10, max: LONGEST_IDLE_MS })),
})
const FETCH_FIELDS = fields({ passthrough: withDefault(flag(), false) })
const DISPATCHER_FIELDS = fields({
  fallback: optional(
    instance(
      'an undici Dispatcher',
      (value) => typeof (value as { dispatch?: unknown } | null)?.dispatch === 'function',
    ),
  ),
})

/** @throws OptionsError */
export function checkClientOptions(options: unknown): {
  readonly filters: readonly HttpFilter[]
  readonly sharing: SharingSettings | undefined
  readonly idleMs: number | undefined
} {
  const { filters, collapse, cache, idleTimeout: idleMs } = check(CLIENT_FIELDS, options, 'mesh.http')
  if (collapse !== true && cache === undefined) return { filters, sharing: undefined, idleMs }
  return { filters, sharing: Object.freeze({ collapse: collapse ?? true, cacheMs: cache ?? 0 }), idleMs }
}

/** @throws OptionsError */
export function checkFetchOptions(options: unknown): void {
  check(FETCH_FIELDS, options, 'fetch')
}

/** @throws OptionsError */
export function checkDispatcherOptions(options: unknown): void {
  check(DISPATCHER_FIELDS, options, 'mesh.dispatcher')
}
