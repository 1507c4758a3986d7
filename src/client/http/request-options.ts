/**
 * Options of a single request, with their validation. It runs for every call, so it uses plain
 * loops.
 */
import type { Duration } from '../../options/duration.ts'
import { type OptionsError, show } from '../../options/fields.ts'
import { didYouMean, nearest } from '../../options/nearest.ts'
import { checkKey, checkSignal, mistake } from '../call-options.ts'
import type { BodyInput } from './body/body-input.ts'
import type { HeadersInput } from './headers.ts'
import type { QueryInput } from './prepare-request.ts'

/** Everything about a request but its method and path. */
export interface HttpRequestOptions {
  /**
   * Headers of your own; `undefined` is left out. Ours (deadline, trace, baggage) are added.
   * Headers of a single connection and `inmesh-*` are left out as well, so that a handler may pass
   * on what it received. @defaultValue none
   */
  readonly headers?: HeadersInput | undefined
  /**
   * Text, bytes, a Blob, a form, `URLSearchParams`, a stream, or an iterable of bytes or text. A
   * stream or generator is read once, so its call is not repeated after that.
   * @defaultValue none
   */
  readonly body?: BodyInput | null | undefined
  /** Sent as JSON, with the content type for it. Instead of `body`. @defaultValue none */
  readonly json?: unknown
  /** Added to the path. @defaultValue none */
  readonly query?: QueryInput | undefined
  /**
   * Cancels the call, wherever it is: waiting, connecting, running, or within the body.
   * @defaultValue none
   */
  readonly signal?: AbortSignal | null | undefined
  /**
   * Bound of the whole call, retries and body included; the service's own timeout and the deadline
   * of the request being served hold as well, whichever is first. @defaultValue the service's
   * timeout
   */
  readonly timeout?: Duration | undefined
  /**
   * A second execution does no harm, so the call may be repeated after it was sent. @defaultValue
   * `true` for GET, HEAD, OPTIONS, TRACE, PUT and DELETE, and with an `idempotency-key` header that
   * is not empty
   */
  readonly idempotent?: boolean | undefined
  /** `false`: one attempt only. @defaultValue as many as the policy allows */
  readonly retry?: false | undefined
  /**
   * Requests with the same key go to the same endpoint, if the service's balancer is `ring-hash` or
   * `maglev`.
   * @defaultValue what the service's policy makes the key of; without one, any endpoint
   */
  readonly key?: string | undefined
  /**
   * The response may last (server-sent events, a long download): the deadline covers it only up to
   * its headers.
   * @defaultValue false
   */
  readonly streaming?: boolean | undefined
  /**
   * How long the caller may take nothing of a long answer that has arrived; then its body fails and
   * its connection goes back. A slow reader and a silent peer may go on. @defaultValue the policy's
   * `idleTimeout` (60 s)
   */
  readonly idleTimeout?: Duration | undefined
}

/** What applies to one call through any of the HTTP doors. */
export type HttpCallOptions = Pick<
  HttpRequestOptions,
  'timeout' | 'idempotent' | 'retry' | 'key' | 'streaming' | 'idleTimeout'
>

/**
 * A request as filters see it: `headers` are an object, in lower case if they were given as a list.
 */
export interface HttpRequest extends HttpRequestOptions {
  readonly method: string
  /** Begins with `/`. */
  readonly path: string
}

/** The client's own body parameter: also plain objects and lists, which are sent as JSON. */
export type HttpBody = BodyInput | Readonly<Record<string, unknown>> | readonly unknown[] | null | undefined

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
