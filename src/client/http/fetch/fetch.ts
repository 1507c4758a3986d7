/**
 * `mesh.fetch`: takes the arguments of `fetch`, with a service name as host. Every option is
 * honoured or refused; docs/options.md lists the differences.
 */
import { inboundCall } from '../../../core/context.ts'
import { OptionsError, show } from '../../../options/fields.ts'
import type { FindService } from '../../selection.ts'
import type { Transport } from '../../transport.ts'
import type { BodyInput } from '../body/body-input.ts'
import { KeptBody } from '../body/repeatable.ts'
import { type RequestBody, requestBody } from '../body/request.ts'
import { unusable } from '../body/streamed.ts'
import { HttpCall } from '../call.ts'
import type { RequestPool } from '../connection-user.ts'
import { flatHeader, type HeadersInput } from '../headers.ts'
import { checkFetchOptions } from '../options.ts'
import { checkMethod, prepareRequest } from '../prepare-request.ts'
import { notInMesh, serviceOf } from '../service-hosts.ts'
import { checkInit, type FetchSettings, isRequest, type MeshFetchInit, refuseOwn } from './init.ts'
import { withIntegrity } from './integrity.ts'
import { fetchResponse } from './response.ts'

/** A `typeof fetch` that takes further options. */
export type MeshFetch = typeof fetch & ((input: string | URL | Request, init?: MeshFetchInit) => Promise<Response>)

export interface HttpFetchOptions {
  /**
   * Hosts that are no service of the mesh go to the application's own `fetch`, unchanged and
   * without any policy. Off, because a mistyped service name would then leave the mesh.
   * @defaultValue false
   */
  readonly passthrough?: boolean
}

/**
 * `http://<service>[.mesh][/path][?query]` of characters that a URL parser leaves as they are; all
 * else is parsed in full.
 */
const PLAIN = /^http:\/\/([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.mesh)?(\/[A-Za-z0-9\-._~!$&()*+,;=:@/?[\]]*)?$/
const DOT_SEGMENT = /\/\.\.?(?:[/?]|$)/

interface Address {
  readonly host: string
  readonly path: string
  readonly url: string
}

/**
 * Makes the `fetch` of a mesh. It rejects with a `MeshError` where the built-in one rejects with
 * `TypeError: fetch failed`, with the signal's own reason when the signal fires, and with
 * `not-in-mesh` for a host that is no service's name.
 */
export function makeFetch(find: FindService<Transport<RequestPool>>, options: HttpFetchOptions = {}): MeshFetch {
  checkFetchOptions(options)
  const passthrough = options?.passthrough === true
  return ((input: string | URL | Request, init?: MeshFetchInit): Promise<Response> => {
    try {
      const request = isRequest(input) ? input : undefined
      const to = addressOf(request === undefined ? (input as string | URL) : request.url)
      const service = to === undefined ? undefined : serviceOf(to.host)
      const source = service === undefined ? undefined : find(service)
      if (to === undefined || source === undefined) {
        if (passthrough) {
          refuseOwn(init)
          return fetch(input, init as RequestInit)
        }
        throw to === undefined ? wrongInput(input, 'an http URL without credentials') : notInMesh(to.host)
      }
      const wishes = checkInit(init, request)
      const method = checkMethod(init?.method !== undefined ? init.method : (request?.method ?? 'GET'))
      if (method === 'TRACE' || method === 'TRACK') {
        throw new OptionsError('fetch', [
          { path: ['method'], message: `fetch sends no ${method}; mesh.http's request does` },
        ])
      }
      const given = (init?.body ?? undefined) as BodyInput | undefined
      const body = given === undefined ? bodyOfRequest(request) : requestBody(given)
      if (body !== undefined && (method === 'GET' || method === 'HEAD')) {
        throw new OptionsError('fetch', [{ path: ['body'], message: `a ${method} request cannot have body` }])
      }
      const headers = (init?.headers ?? request?.headers) as HeadersInput | undefined
      const prepared = prepareRequest(method, to.path, headers, body)
      prepared.origin = to.url
      // As every fetch does. Some servers choose the representation by it.
      if (flatHeader(prepared.headers, 'accept') === undefined) prepared.headers.push('accept', '*/*')
      addMissing(prepared.headers, wishes.cacheHeaders)
      // `null` takes the signal of a Request away.
      const signal = (init?.signal !== undefined ? init.signal : request?.signal) ?? undefined
      const call = new HttpCall<Response>(
        source,
        prepared,
        (status, statusText, received, arrived) =>
          fetchResponse({ url: to.url, status, statusText, received, head: method === 'HEAD', signal }, arrived),
        init ?? undefined,
        signal,
        inboundCall(),
      )
      call.throwsReason = true
      const answer = call.send()
      return wishes.noRedirect || wishes.integrity !== undefined ? answer.then((res) => grant(res, wishes)) : answer
    } catch (error) {
      return Promise.reject(error)
    }
  }) as MeshFetch
}

/**
 * A Request does not say what its body was made of. @throws OptionsError, a `TypeError`, if it has
 * been used
 */
function bodyOfRequest(request: Request | undefined): RequestBody | undefined {
  const stream = request?.body ?? undefined
  if (stream === undefined) return undefined
  if (request!.bodyUsed || stream.locked) throw unusable('input', 'the body of this Request has been used', 'fetch')
  return { content: new KeptBody(stream), contentType: undefined }
}

function addMissing(flat: string[], headers: readonly string[]): void {
  for (let i = 0; i < headers.length; i += 2) {
    if (flatHeader(flat, headers[i]!) === undefined) flat.push(headers[i]!, headers[i + 1]!)
  }
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** @throws TypeError, as every fetch, if the response violates `redirect` or `integrity` */
async function grant(response: Response, wishes: FetchSettings): Promise<Response> {
  if (wishes.noRedirect && REDIRECTS.has(response.status)) {
    await response.body?.cancel()
    throw new TypeError(`fetch of ${response.url}: a redirect (status ${response.status}), and redirect is 'error'`)
  }
  return wishes.integrity === undefined ? response : withIntegrity(response, wishes.integrity)
}

/** `undefined`: another scheme, or credentials. */
function addressOf(input: string | URL): Address | undefined {
  if (typeof input === 'string') {
    const match = PLAIN.exec(input)
    if (match !== null) {
      const path = match[2] ?? '/'
      if (!DOT_SEGMENT.test(path)) {
        return { host: match[1]!, path, url: match[2] === undefined ? `${input}/` : input }
      }
    }
  }
  const url = parse(input)
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.username !== '' || url.password !== '') {
    return undefined
  }
  const fragment = url.hash.length
  return {
    host: url.hostname,
    path: url.pathname + url.search,
    url: fragment === 0 ? url.href : url.href.slice(0, -fragment),
  }
}

function parse(input: string | URL): URL {
  try {
    return new URL(input)
  } catch {
    throw wrongInput(input, "a URL such as 'http://inventory/items/42'")
  }
}

function wrongInput(input: unknown, expected: string): OptionsError {
  const text = typeof input === 'string' ? input : input instanceof URL ? input.href : input
  return new OptionsError('fetch', [{ path: ['input'], message: `expected ${expected}, got ${show(text)}` }])
}
