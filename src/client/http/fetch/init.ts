/**
 * Validates every option of a `fetch`. Options that a mesh satisfies by nature are only checked;
 * those it cannot honour are errors that name them.
 */
import { OptionsError, show } from '../../../options/fields.ts'
import { didYouMean } from '../../../options/nearest.ts'
import { checkKey, checkSignal, checkTimeout } from '../../call-options.ts'
import type { BodyInput } from '../body/body-input.ts'
import { checkIdleTimeout } from '../prepare-request.ts'
import type { HttpCallOptions } from '../request-options.ts'
import { type Integrity, parseIntegrity } from './integrity.ts'

/**
 * The standard's own options, and `timeout`, `idempotent`, `retry`, `key`, `streaming` and
 * `idleTimeout` for one call.
 */
export interface MeshFetchInit extends Omit<RequestInit, 'body' | 'redirect' | 'priority'>, HttpCallOptions {
  /** As for `fetch`, and Node's streams and iterables of bytes or text. @defaultValue none */
  readonly body?: RequestInit['body'] | BodyInput | null
  /**
   * `'manual'` returns redirects, `'error'` fails at one; `'follow'` is refused.
   * @defaultValue `'manual'`
   */
  readonly redirect?: RequestInit['redirect']
  /** Calls of a mesh have none, so other values are refused. @defaultValue `'auto'` */
  readonly priority?: 'auto' | undefined
}

/** The options that remain to be honoured once the request is made. */
export interface FetchSettings {
  /** A redirect is an error. */
  readonly noRedirect: boolean
  readonly integrity: Integrity | undefined
  /** Headers by which `cache` reaches the caches on the way. */
  readonly cacheHeaders: readonly string[]
}

const NO_HEADERS: readonly string[] = Object.freeze([])
const NO_WISHES: FetchSettings = Object.freeze({ noRedirect: false, integrity: undefined, cacheHeaders: NO_HEADERS })

/**
 * As Fetch writes them (HTTP-network-or-cache fetch). Nothing is cached here, so the other modes
 * are satisfied.
 */
const CACHE_HEADERS: Readonly<Record<string, readonly string[]>> = {
  default: NO_HEADERS,
  'force-cache': NO_HEADERS,
  'no-store': ['pragma', 'no-cache', 'cache-control', 'no-cache'],
  reload: ['pragma', 'no-cache', 'cache-control', 'no-cache'],
  'no-cache': ['cache-control', 'max-age=0'],
}

type Check = (value: unknown) => void

const CHECKS: Readonly<Record<keyof MeshFetchInit, Check>> = {
  // Checked where they are used.
  method: noCheck,
  body: noCheck,
  headers(value) {
    if (typeof value !== 'object' || value === null) throw wrong('headers', 'Headers, pairs or an object', value)
    const [symbol] = Symbol.iterator in value ? [] : Object.getOwnPropertySymbols(value)
    if (symbol !== undefined) throw wrong('headers', 'names of headers that are text', symbol)
  },
  signal: (value) => checkSignal(value, 'fetch'),
  mode: oneOf('mode', ['cors'], 'a mesh has no origins'),
  credentials: oneOf('credentials', ['omit', 'same-origin', 'include']),
  cache: oneOf('cache', Object.keys(CACHE_HEADERS), 'there is no cache; see mesh.http(service, { cache })'),
  redirect: oneOf(
    'redirect',
    ['manual', 'error'],
    'redirects are returned and never followed, because they can carry credentials to another service',
  ),
  referrer: oneOf('referrer', ['', 'about:client'], "none is sent; set the header 'referer'"),
  referrerPolicy: oneOf('referrerPolicy', [
    '',
    'no-referrer',
    'no-referrer-when-downgrade',
    'same-origin',
    'origin',
    'strict-origin',
    'origin-when-cross-origin',
    'strict-origin-when-cross-origin',
    'unsafe-url',
  ]),
  integrity(value) {
    if (typeof value !== 'string') throw wrong('integrity', "text such as 'sha256-…'", value)
  },
  keepalive: logical('keepalive'),
  duplex: oneOf('duplex', ['half']),
  priority: oneOf('priority', ['auto'], 'calls of a mesh have no priorities'),
  window(value) {
    if (value !== null) throw wrong('window', 'null', value)
  },
  dispatcher() {
    throw new OptionsError('fetch', [
      { path: ['dispatcher'], message: 'the mesh makes its own connections; for undici there is mesh.dispatcher()' },
    ])
  },
  timeout: (value) => void checkTimeout(value, 'fetch'),
  idempotent: logical('idempotent'),
  streaming: logical('streaming'),
  retry(value) {
    if (value !== false) throw wrong('retry', 'false for one attempt only, or nothing', value)
  },
  key: (value) => void checkKey(value, 'fetch'),
  idleTimeout: (value) => void checkIdleTimeout(value),
}

/** Our own options, which the built-in `fetch` would ignore. */
const OWN = ['timeout', 'idempotent', 'retry', 'streaming', 'key', 'idleTimeout'] as const
const KEYS: ReadonlySet<keyof MeshFetchInit> = new Set(Object.keys(CHECKS) as (keyof MeshFetchInit)[])

/** @throws OptionsError naming the first option that is wrong */
export function checkInit(init: MeshFetchInit | null | undefined, request: Request | undefined): FetchSettings {
  if (init === undefined || init === null) return request === undefined ? NO_WISHES : wishes(undefined, request)
  if (typeof init !== 'object') {
    throw new OptionsError('fetch', [{ path: [], message: `expected an object of options, got ${show(init)}` }])
  }
  // A Request may stand for an init; what it was not given it has by default.
  if (isRequest(init)) return wishes(undefined, init)
  for (const key in init) {
    if (init[key as keyof MeshFetchInit] === undefined) continue
    if (!Object.hasOwn(CHECKS, key)) {
      const hint = didYouMean(key, KEYS) || `; valid keys are ${[...KEYS].join(', ')}`
      throw new OptionsError('fetch', [{ path: [key], message: `unknown key${hint}` }])
    }
    checkOption(init, key as keyof MeshFetchInit)
  }
  // Getters of a class are not enumerated, and are read all the same.
  if (Object.getPrototypeOf(init) !== Object.prototype) for (const key of KEYS) checkOption(init, key)
  if (
    request === undefined &&
    init.redirect === undefined &&
    init.integrity === undefined &&
    init.cache === undefined
  ) {
    return NO_WISHES
  }
  return wishes(init, request)
}

function checkOption(init: MeshFetchInit, key: keyof MeshFetchInit): void {
  const value = init[key]
  if (value !== undefined) CHECKS[key](value)
}

/** Of any implementation. */
export function isRequest(input: unknown): input is Request {
  return typeof input === 'object' && input !== null && 'url' in input && 'headers' in input && 'bodyUsed' in input
}

/** @throws OptionsError if `init` asks the mesh for what leaves it */
export function refuseOwn(init: MeshFetchInit | undefined): void {
  for (const key of OWN) {
    if (init?.[key] === undefined) continue
    throw new OptionsError('fetch', [
      { path: [key], message: 'is for calls of services; this host is none, and goes to the built-in fetch' },
    ])
  }
}

function wishes(init: MeshFetchInit | undefined, request: Request | undefined): FetchSettings {
  if (request !== undefined) {
    if (init?.mode === undefined && request.mode !== undefined) CHECKS.mode(request.mode)
    if (init?.referrer === undefined && request.referrer !== undefined) CHECKS.referrer(request.referrer)
    if (init?.cache === undefined && request.cache !== undefined) CHECKS.cache(request.cache)
  }
  const integrity = init?.integrity ?? request?.integrity
  return {
    noRedirect: (init?.redirect ?? request?.redirect) === 'error',
    integrity: integrity === undefined || integrity === '' ? undefined : parseIntegrity(integrity),
    cacheHeaders: CACHE_HEADERS[init?.cache ?? request?.cache ?? 'default'] ?? NO_HEADERS,
  }
}

function noCheck(): void {}

function oneOf(name: string, values: readonly string[], hint = ''): Check {
  const valid = new Set<unknown>(values)
  const expected = values.map((value) => `'${value}'`).join(', ')
  return (value) => {
    if (!valid.has(value)) throw wrong(name, expected, value, hint)
  }
}

function logical(name: string): Check {
  return (value) => {
    if (typeof value !== 'boolean') throw wrong(name, 'true or false', value)
  }
}

function wrong(name: string, expected: string, value: unknown, hint = ''): OptionsError {
  const why = hint === '' ? '' : `: ${hint}`
  return new OptionsError('fetch', [{ path: [name], message: `expected ${expected}, got ${show(value)}${why}` }])
}
