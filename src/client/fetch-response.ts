/**
 * What `mesh.fetch` answers with: to the caller a `Response` in every respect that code can see (`instanceof`, properties,
 * methods), but headers and body stream are made only if somebody asks. The class is made on first use, because touching
 * `Response` makes Node load its whole fetch machinery.
 */
import { inspect } from 'node:util'
import { PREFIX } from '../core/headers.ts'
import type { ReceivedHeaders } from './http-call.ts'
import type { ResponseBody } from './response-body.ts'

type MakeResponse = (
  url: string,
  status: number,
  statusText: string,
  received: ReceivedHeaders,
  body: ResponseBody,
) => Response

/** Responses with these never have a body (Fetch standard, "null body status"). */
const NULL_BODY = new Set([204, 205, 304])

let make: MakeResponse | undefined

/** A `Response` over what arrived. */
export function fetchResponse(
  url: string,
  status: number,
  statusText: string,
  received: ReceivedHeaders,
  body: ResponseBody,
): Response {
  make ??= defineResponse()
  return make(url, status, statusText, received, body)
}

function defineResponse(): MakeResponse {
  class MeshResponse {
    readonly #url: string
    readonly #status: number
    readonly #statusText: string
    readonly #received: ReceivedHeaders
    readonly #body: ResponseBody
    #headers: Headers | undefined = undefined
    #readable: ReadableStream<Uint8Array> | undefined = undefined

    constructor(url: string, status: number, statusText: string, received: ReceivedHeaders, body: ResponseBody) {
      this.#url = url
      this.#status = status
      this.#statusText = statusText
      this.#received = received
      this.#body = body
    }

    get type(): Response['type'] {
      return 'basic'
    }

    get url(): string {
      return this.#url
    }

    get redirected(): boolean {
      return false
    }

    get status(): number {
      return this.#status
    }

    get ok(): boolean {
      return this.#status >= 200 && this.#status <= 299
    }

    get statusText(): string {
      return this.#statusText
    }

    get headers(): Headers {
      this.#headers ??= toHeaders(this.#received)
      return this.#headers
    }

    get body(): ReadableStream<Uint8Array> | null {
      if (NULL_BODY.has(this.#status)) return null
      this.#readable ??= this.#body.readable()
      return this.#readable
    }

    get bodyUsed(): boolean {
      // Asking for the stream is no use of it; reading it is.
      return this.#readable === undefined ? this.#body.used : this.#readable.locked || this.#body.touched
    }

    async text(): Promise<string> {
      return this.#readable === undefined ? this.#body.text() : this.#standIn().text()
    }

    async json(): Promise<unknown> {
      return this.#readable === undefined ? this.#body.json() : this.#standIn().json()
    }

    async bytes(): Promise<Uint8Array> {
      if (this.#readable !== undefined) return new Uint8Array(await this.#standIn().arrayBuffer())
      return new Uint8Array(await this.#body.bytes())
    }

    async arrayBuffer(): Promise<ArrayBuffer> {
      return (await this.bytes()).buffer as ArrayBuffer
    }

    async blob(): Promise<Blob> {
      return new Blob([await this.arrayBuffer()], { type: this.headers.get('content-type') ?? '' })
    }

    async formData(): Promise<FormData> {
      return this.#standIn().formData()
    }

    clone(): Response {
      if (this.bodyUsed) throw new TypeError('Response.clone: the body has already been read')
      if (this.#readable !== undefined) {
        const [mine, theirs] = this.#readable.tee()
        this.#readable = mine
        return this.#standIn(theirs)
      }
      const copy = this.#body.fork()
      if (copy !== undefined) {
        return new MeshResponse(this.#url, this.#status, this.#statusText, this.#received, copy) as unknown as Response
      }
      const [mine, theirs] = this.#body.readable().tee()
      this.#readable = mine
      return this.#standIn(theirs)
    }

    /** The real thing, for what is rare: a body that was asked for as a stream, forms. */
    #standIn(body: ReadableStream<Uint8Array> | null = this.body): Response {
      const response = new Response(body, {
        status: this.#status,
        statusText: this.#statusText,
        headers: this.headers,
      })
      Object.defineProperty(response, 'url', { value: this.#url, configurable: true })
      return response
    }

    [inspect.custom](): string {
      return `Response { status: ${this.#status}, url: ${inspect(this.#url)}, bodyUsed: ${this.bodyUsed} }`
    }
  }
  Object.setPrototypeOf(MeshResponse.prototype, Response.prototype)
  Object.defineProperty(MeshResponse, 'name', { value: 'Response' })
  return (url, status, statusText, received, body) => {
    const response = new MeshResponse(url, status, statusText, received, body)
    body.heldBy(response)
    return response as unknown as Response
  }
}

function toHeaders(received: ReceivedHeaders): Headers {
  const headers = new Headers()
  for (const name of Object.keys(received)) {
    if (name.startsWith(PREFIX)) continue
    const value = received[name]
    if (Array.isArray(value)) for (const one of value) headers.append(name, one)
    else if (value !== undefined) headers.append(name, value)
  }
  return headers
}
