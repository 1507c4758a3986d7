/**
 * The HTTP client of one service, as `mesh.http(service)` returns it. A call allocates one object
 * for itself and one for each attempt.
 */
import type { Call } from '../../core/call.ts'
import { inboundCall } from '../../core/context.ts'
import type { SharingSettings } from '../../resilience/shared-results.ts'
import type { BodyInput } from './body/body-input.ts'
import { jsonBody, type RequestBody, requestBody } from './body/request.ts'
import { HttpCall, type HttpService } from './call.ts'
import { copyRequest, readOnce } from './copy-request.ts'
import { compose, type Next } from './filter.ts'
import { FilteredCall } from './filtered-call.ts'
import type { HttpFilter } from './options.ts'
import { checkMethod, checkPath, prepareRequest, withQuery } from './prepare-request.ts'
import {
  checkBody,
  checkRequestOptions,
  type HttpBody,
  type HttpRequest,
  type HttpRequestOptions,
  refuseMore,
} from './request-options.ts'
import { type HttpResponse, httpResponse } from './response.ts'
import { SharedGets } from './shared-gets.ts'

/**
 * Calls one service. Every method resolves with the response, whatever its status, and rejects with
 * a `MeshError` if there is none; `error.sent` says whether the call may have been executed. If the
 * signal fires, `code` is `cancelled` and `cause` the signal's reason. Wrong arguments reject with
 * an `OptionsError`.
 *
 * @example
 * ```ts
 * const inventory = mesh.http('inventory')
 * const item = await (await inventory.get('/items/42')).json<Item>()
 * await inventory.post('/reservations', { sku: 'a' }, { timeout: '300ms', idempotent: true })
 * ```
 */
export class HttpClient {
  readonly #service: HttpService
  readonly #filtered: Next<HttpRequest, HttpResponse> | undefined

  readonly #shared: SharedGets | undefined

  readonly #idleMs: number | undefined

  constructor(
    service: HttpService,
    filters: readonly HttpFilter[] = [],
    sharing?: SharingSettings,
    idleMs?: number | undefined,
  ) {
    this.#service = service
    this.#idleMs = idleMs
    this.#shared = sharing && new SharedGets(sharing, service.transport.clock)
    this.#filtered =
      filters.length === 0 ? undefined : compose(filters, (request, call) => this.#sendFiltered(request, call))
  }

  get service(): string {
    return this.#service.service
  }

  get(path: string, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.request('GET', path, options, beyond)
  }

  head(path: string, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.request('HEAD', path, options, beyond)
  }

  delete(path: string, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.request('DELETE', path, options, beyond)
  }

  /** `body`: a plain object or a list is sent as JSON; `undefined` or `null` is none. */
  post(path: string, body?: HttpBody, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.#requestWith('POST', path, body, options, beyond)
  }

  put(path: string, body?: HttpBody, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.#requestWith('PUT', path, body, options, beyond)
  }

  patch(path: string, body?: HttpBody, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    return this.#requestWith('PATCH', path, body, options, beyond)
  }

  #requestWith(
    method: string,
    path: string,
    body: HttpBody,
    options: HttpRequestOptions | undefined,
    beyond: undefined,
  ): Promise<HttpResponse> {
    let given: HttpRequestOptions | undefined
    try {
      given = withBody(body, options)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.request(method, path, given, beyond)
  }

  /** `beyond` must be absent: options in a position that is not read are refused. */
  request(method: string, path: string, options?: HttpRequestOptions, beyond?: undefined): Promise<HttpResponse> {
    try {
      if (beyond !== undefined) refuseMore()
      if (options !== undefined) checkRequestOptions(options)
      if (this.#shared !== undefined && this.#filtered === undefined && mayShare(method, options)) {
        return this.#share(path, options, inboundCall()?.baggage)
      }
      if (this.#filtered === undefined) return this.#makeCall(HttpCall<HttpResponse>, method, path, options).send()
      return this.#filtered(...this.#draft(method, path, options))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The request and the call that filters receive. */
  #draft(method: string, path: string, options?: HttpRequestOptions): [HttpRequest, FilteredCall<HttpResponse>] {
    const given = options && readOnce(options)
    const call = this.#makeCall(FilteredCall<HttpResponse>, method, path, given).handOver()
    return [copyRequest(method, path, given, call.request.body), call]
  }

  #makeCall<C extends HttpCall<HttpResponse>>(
    Made: new (...given: ConstructorParameters<typeof HttpCall<HttpResponse>>) => C,
    method: string,
    path: string,
    options: HttpRequestOptions | undefined,
  ): C {
    const verb = checkMethod(method)
    checkPath(path)
    const body = options === undefined ? undefined : bodyOf(options)
    const full = options?.query === undefined ? path : withQuery(path, options.query)
    const request = prepareRequest(verb, full, options?.headers, body)
    const call = new Made(this.#service, request, httpResponse, options, options?.signal ?? undefined, inboundCall())
    if (this.#idleMs !== undefined && options?.idleTimeout === undefined) call.idleMs = this.#idleMs
    return call
  }

  #share(path: string, options: HttpRequestOptions | undefined, baggage: Call['baggage']): Promise<HttpResponse> {
    checkPath(path)
    const service = this.#service
    const full = options?.query === undefined ? path : withQuery(path, options.query)
    const request = prepareRequest('GET', full, options?.headers, undefined)
    return this.#shared!.get(request, service.unrouted('GET', false).kind, baggage, (root, answer) => {
      const call = new HttpCall(service, request, answer, undefined, undefined, root)
      if (this.#idleMs !== undefined) call.idleMs = this.#idleMs
      return call
    })
  }

  #sendFiltered(request: HttpRequest, call: Call): Promise<HttpResponse> {
    const { method: _, path: __, ...options } = request
    checkRequestOptions(options)
    if (this.#shared !== undefined && mayShare(request.method, request))
      return this.#share(request.path, request, call.baggage)
    const made = this.#makeCall(HttpCall<HttpResponse>, request.method, request.path, request)
    return call instanceof FilteredCall ? call.sendAs(made) : made.send()
  }
}

/** A request with further options gets a separate exchange. */
function mayShare(method: string, options: HttpRequestOptions | undefined): boolean {
  if (method !== 'GET') return false
  for (const key in options) {
    if (key !== 'headers' && key !== 'query' && key !== 'method' && key !== 'path') return false
  }
  return true
}

function bodyOf(options: HttpRequestOptions): RequestBody | undefined {
  return options.json === undefined ? requestBody(options.body) : jsonBody(options.json)
}

function withBody(body: HttpBody, options: HttpRequestOptions | undefined): HttpRequestOptions | undefined {
  if (body === undefined || body === null) return options
  checkBody(body, options)
  if (isPlain(body)) return { ...options, json: body }
  return { ...options, body: body as BodyInput }
}

/** Whether a body makes sense only as JSON. */
function isPlain(body: unknown): boolean {
  if (Array.isArray(body)) return true
  if (typeof body !== 'object' || body === null) return false
  const prototype: object | null = Object.getPrototypeOf(body)
  if (prototype !== null && !isObjectPrototype(prototype)) return false
  return !(Symbol.asyncIterator in body || Symbol.iterator in body || Symbol.toStringTag in body)
}

/** Of any realm. */
function isObjectPrototype(prototype: object): boolean {
  if (prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
}
