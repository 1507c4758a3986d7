/**
 * The response of `mesh.http(service)`: status, headers and a body that is read once. It costs far
 * less than a `Response`.
 */
import { PREFIX } from '../../core/headers.ts'
import type { ResponseBody } from './body/response.ts'
import type { ReceivedHeaders } from './headers.ts'

/**
 * Received headers, read-only; names are looked up in any case. The mesh's own are not among them.
 */
export class HttpHeaders implements Iterable<[name: string, value: string]> {
  readonly #received: ReceivedHeaders

  constructor(received: ReceivedHeaders) {
    this.#received = received
  }

  /** The value; several joined by `', '`. `undefined` if absent. */
  get(name: string): string | undefined {
    const value = this.#value(name)
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** Each value by itself, as `set-cookie` needs it. */
  getAll(name: string): readonly string[] {
    const value = this.#value(name)
    return value === undefined ? [] : Array.isArray(value) ? value : [value]
  }

  has(name: string): boolean {
    return this.#value(name) !== undefined
  }

  *[Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    for (const name of Object.keys(this.#received)) {
      for (const value of this.getAll(name)) yield [name, value]
    }
  }

  #value(name: string): string | string[] | undefined {
    const lower = name.toLowerCase()
    return lower.startsWith(PREFIX) || !Object.hasOwn(this.#received, lower) ? undefined : this.#received[lower]
  }
}

/**
 * An answer of any status; a 4xx or 5xx is returned, not thrown. A body longer than 64 KiB must be
 * read or cancelled (`res.body.cancel()`): unread it keeps its connection until the deadline or
 * `idleTimeout`.
 *
 * @example
 * ```ts
 * const res = await mesh.http('inventory').get('/items/42')
 * if (res.ok) console.log(await res.json())
 * ```
 */
export class HttpResponse {
  readonly status: number
  readonly statusText: string
  readonly #received: ReceivedHeaders
  readonly #body: ResponseBody
  #headers: HttpHeaders | undefined = undefined
  #readable: ReadableStream<Uint8Array> | undefined = undefined

  constructor(status: number, statusText: string, received: ReceivedHeaders, body: ResponseBody) {
    this.status = status
    this.statusText = statusText
    this.#received = received
    this.#body = body
  }

  /** Status 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status <= 299
  }

  get headers(): HttpHeaders {
    this.#headers ??= new HttpHeaders(this.#received)
    return this.#headers
  }

  get bodyUsed(): boolean {
    return this.#body.used
  }

  /** The body as a stream. Break off with `cancel()`; then the request is cancelled, too. */
  get body(): ReadableStream<Uint8Array> {
    this.#readable ??= this.#body.readable()
    return this.#readable
  }

  /**
   * The body as UTF-8 text. @throws MeshError if it breaks off (`connection-lost`,
   * `deadline-exceeded`, `cancelled`).
   */
  text(): Promise<string> {
    return this.#body.text()
  }

  /**
   * The body as a value. Not checked against `T`. @throws SyntaxError if it is no JSON; MeshError
   * if it breaks off.
   */
  json<T = unknown>(): Promise<T> {
    return this.#body.json<T>()
  }

  /** The body as bytes. @throws MeshError if it breaks off. */
  bytes(): Promise<Uint8Array> {
    return this.#body.bytes()
  }
}

/** One function for all calls, so that a call does not make its own. */
export function httpResponse(
  status: number,
  statusText: string,
  received: ReceivedHeaders,
  body: ResponseBody,
): HttpResponse {
  const response = new HttpResponse(status, statusText, received, body)
  body.heldBy(response)
  return response
}
