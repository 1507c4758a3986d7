/**
 * Converts undici's dispatch options to a request of the mesh. Unsupported options are refused with
 * undici's own errors, and options that tune its connections are ignored.
 */
import type { Dispatcher } from 'undici'
import type { BodyInput } from '../body/body-input.ts'
import { type RequestBody, requestBody } from '../body/request.ts'
import type { HeadersInput } from '../headers.ts'
import type { PreparedRequest } from '../prepare-request.ts'
import { checkMethod, checkPath, prepareRequest, type QueryInput, withQuery } from '../prepare-request.ts'
import type { HttpCallOptions } from '../request-options.ts'
import { undici } from '../undici.ts'

export interface DispatchRequest extends Omit<HttpCallOptions, 'idempotent'> {
  readonly prepared: PreparedRequest
  /** @defaultValue as of every call: undici itself declares only GET and HEAD idempotent */
  readonly idempotent?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** How long it waits for an endpoint. @defaultValue as long as every call */
  readonly longestWaitMs?: number | undefined
  /** Between the call and the head of its answer; 0: no bound but the service's. */
  readonly headersTimeoutMs: number
  /** Between two parts of the body of the answer; 0: no bound but the service's. */
  readonly bodyTimeoutMs: number
}

/** All that a dispatch may ask for, also what undici's types have given up. */
type Asked = Dispatcher.DispatchOptions & {
  readonly throwOnError?: unknown
  readonly maxRedirections?: unknown
  readonly typeOfService?: unknown
  readonly servername?: unknown
}

/** Names and versions of protocols (RFC 9110, 7.8). */
const PROTOCOLS = /^[!#$%&'*+\-.^_`|~0-9A-Za-z/, ]{1,256}$/

/** Headers that describe the connection: undici refuses them, too. */
const REFUSED_HEADERS = new Set(['transfer-encoding', 'keep-alive', 'upgrade'])

/**
 * @throws undici's InvalidArgumentError or NotSupportedError, or an OptionsError, naming the option
 */
export function prepareDispatch(options: Dispatcher.DispatchOptions): DispatchRequest {
  const asked = options as Asked
  const { errors } = undici()
  if (asked.method === ('CONNECT' as Dispatcher.HttpMethod)) {
    throw new errors.NotSupportedError('method: CONNECT does not go through the mesh')
  }
  refuseUnsupported(asked)
  const method = checkMethod(asked.method)
  const path = checkPath(withQuery(asked.path, queryOf(asked.query)))
  const prepared = prepareRequest(
    method,
    path,
    headersOf(asked.headers),
    bodyOf(asked.body),
    flagOf('reset', asked.reset),
  )
  prepared.upgrade = upgradeOf(asked.upgrade, prepared)
  return {
    prepared,
    idempotent: flagOf('idempotent', asked.idempotent),
    headersTimeoutMs: timeoutOf('headersTimeout', asked.headersTimeout),
    bodyTimeoutMs: timeoutOf('bodyTimeout', asked.bodyTimeout),
  }
}

function refuseUnsupported(asked: Asked): void {
  const { InvalidArgumentError, NotSupportedError } = undici().errors
  if (flagOf('expectContinue', asked.expectContinue) === true) {
    throw new NotSupportedError('expectContinue: the mesh sends a body without waiting to be asked for it')
  }
  if (asked.typeOfService !== undefined && asked.typeOfService !== null) {
    throw new NotSupportedError('typeOfService: connections of the mesh are shared')
  }
  if (asked.servername) {
    throw new NotSupportedError('servername: the mesh verifies its peers by their identity')
  }
  flagOf('blocking', asked.blocking)
  if (asked.throwOnError !== undefined && asked.throwOnError !== null) {
    throw new InvalidArgumentError('invalid throwOnError: use the responseError interceptor')
  }
  if (asked.maxRedirections !== undefined && asked.maxRedirections !== null && asked.maxRedirections !== 0) {
    throw new InvalidArgumentError('maxRedirections is not supported: use the redirect interceptor')
  }
}

function flagOf(name: string, value: unknown): boolean | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'boolean') return value
  throw new (undici().errors.InvalidArgumentError)(`invalid ${name}: expected true or false`)
}

/** The protocol that the caller wants to speak on the connection. */
function upgradeOf(upgrade: unknown, { body }: PreparedRequest): string | undefined {
  if (upgrade === undefined || upgrade === null || upgrade === '' || upgrade === false) return undefined
  const { InvalidArgumentError, NotSupportedError } = undici().errors
  if (typeof upgrade !== 'string') throw new InvalidArgumentError('upgrade must be a string')
  if (!PROTOCOLS.test(upgrade)) throw new InvalidArgumentError('invalid upgrade header')
  // Servers take a request with a body for an ordinary one.
  if (body !== undefined) throw new NotSupportedError('upgrade: the mesh sends no body with an upgrade')
  return upgrade
}

function timeoutOf(name: string, value: unknown): number {
  if (value === undefined || value === null) return 0
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw new (undici().errors.InvalidArgumentError)(`invalid ${name}: expected milliseconds, or 0 for no bound`)
}

/** undici writes nothing for no value. */
function queryOf(query: unknown): QueryInput | undefined {
  if (typeof query !== 'object' || query === null) return (query ?? undefined) as QueryInput | undefined
  if (Symbol.iterator in query) return query as QueryInput
  const given = Object.entries(query).map(([name, value]) => [name, value ?? ''] as const)
  return Object.fromEntries(given) as QueryInput
}

/** undici names no content type for text: it does not know what the text is. */
function bodyOf(body: unknown): RequestBody | undefined {
  const prepared = requestBody((body ?? undefined) as BodyInput | undefined)
  return typeof body === 'string' && prepared !== undefined ? { ...prepared, contentType: undefined } : prepared
}

/**
 * undici's flat lists, of text or bytes, as pairs; objects and iterables of pairs with each value
 * by itself.
 */
function headersOf(headers: unknown): HeadersInput | undefined {
  if (headers === undefined || headers === null) return undefined
  const { InvalidArgumentError } = undici().errors
  if (typeof headers !== 'object') throw new InvalidArgumentError('headers must be an object or an array')
  const pairs: [string, string][] = []
  if (Array.isArray(headers) && !(headers.length > 0 && headers.every((one) => Array.isArray(one)))) {
    if (headers.length % 2 !== 0) throw new InvalidArgumentError('headers array must be even')
    for (let i = 0; i < headers.length; i += 2) addHeader(pairs, headers[i], headers[i + 1])
  } else if (typeof (headers as Iterable<unknown>)[Symbol.iterator] === 'function') {
    for (const pair of headers as Iterable<unknown>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new InvalidArgumentError('headers must be in key-value pair format')
      }
      addHeader(pairs, pair[0], pair[1])
    }
  } else {
    for (const name of Object.keys(headers)) addHeader(pairs, name, (headers as Record<string, unknown>)[name])
  }
  return pairs
}

function addHeader(pairs: [string, string][], name: unknown, value: unknown): void {
  if (value === undefined) return
  const { InvalidArgumentError, NotSupportedError } = undici().errors
  const text = textOf(name)
  if (text === undefined) throw new InvalidArgumentError('invalid header key')
  const lower = text.toLowerCase()
  if (lower === 'expect') throw new NotSupportedError('expect header not supported')
  if (REFUSED_HEADERS.has(lower)) throw new InvalidArgumentError(`invalid ${lower} header`)
  for (const one of Array.isArray(value) ? value : [value]) {
    const said = one === null ? '' : typeof one === 'number' || typeof one === 'boolean' ? String(one) : textOf(one)
    if (said === undefined) throw new InvalidArgumentError(`invalid ${text} header`)
    pairs.push([text, said])
  }
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : undefined
}
