/**
 * The `Response` of `mesh.fetch`; headers and body stream are created on demand. The class is
 * created on first use, because touching `Response` loads Node's fetch implementation.
 */
import { Readable } from 'node:stream'
import { type InspectOptions, inspect } from 'node:util'
import { PREFIX } from '../../../core/headers.ts'
import { ResponseBody } from '../body/response.ts'
import { reasonOf } from '../call.ts'
import type { ReceivedHeaders } from '../headers.ts'

/** What is known when the head has arrived. */
export interface ResponseHead {
  readonly url: string
  readonly status: number
  readonly statusText: string
  readonly received: ReceivedHeaders
  /** Of a HEAD request. */
  readonly head: boolean
  readonly signal: AbortSignal | undefined
}

type MakeResponse = (head: ResponseHead, body: ResponseBody) => Response

/** Responses with these never have a body (Fetch standard, "null body status"). */
const NULL_BODY = new Set([101, 103, 204, 205, 304])

let make: MakeResponse | undefined

/** A `Response` over what arrived. */
export function fetchResponse(head: ResponseHead, body: ResponseBody): Response {
  make ??= defineResponse(builtInResponse())
  return make(head, body)
}

/**
 * Node's own class, also where a framework has put a subclass into its place, whose private fields
 * are not ours.
 */
function builtInResponse(): typeof Response {
  let found: typeof Response = Response
  for (;;) {
    const parent: unknown = Object.getPrototypeOf(found)
    // The end is a `Function.prototype`, in Jest that of another realm: it constructs nothing.
    if (typeof parent !== 'function' || !Object.hasOwn(parent, 'prototype')) return found
    found = parent as typeof Response
  }
}

function defineResponse(BuiltIn: typeof Response): MakeResponse {
  class MeshResponse {
    readonly #head: ResponseHead
    readonly #body: ResponseBody
    /** There is no body, whatever the headers say of one. */
    readonly #empty: boolean
    #headers: Headers | undefined = undefined
    #readable: ReadableStream<Uint8Array> | undefined = undefined

    constructor(head: ResponseHead, body: ResponseBody) {
      this.#head = head
      this.#body = body
      this.#empty = head.head || NULL_BODY.has(head.status)
      // A server may send a body all the same (with 205), but no caller can read it.
      if (this.#empty && !body.complete) body.cancel(undefined)
    }

    get type(): Response['type'] {
      return 'basic'
    }

    get url(): string {
      return this.#head.url
    }

    get redirected(): boolean {
      return false
    }

    get status(): number {
      return this.#head.status
    }

    get ok(): boolean {
      const { status } = this.#head
      return status >= 200 && status <= 299
    }

    get statusText(): string {
      return this.#head.statusText
    }

    get headers(): Headers {
      this.#headers ??= toHeaders(this.#head.received)
      return this.#headers
    }

    get body(): ReadableStream<Uint8Array> | null {
      if (this.#empty) return null
      this.#readable ??= this.#aborted ? errored(reasonOf(this.#head.signal!)) : this.#body.readable()
      return this.#readable
    }

    get bodyUsed(): boolean {
      // Asking for the stream is no use of it; reading it is.
      return this.#readable === undefined ? this.#body.used : Readable.isDisturbed(this.#readable as never)
    }

    async text(): Promise<string> {
      return this.#readable === undefined ? this.#unread().text() : this.#standIn().text()
    }

    async json(): Promise<unknown> {
      return this.#readable === undefined ? this.#unread().json() : this.#standIn().json()
    }

    async bytes(): Promise<Uint8Array> {
      if (this.#readable !== undefined) return new Uint8Array(await this.#standIn().arrayBuffer())
      return new Uint8Array(await this.#unread().bytes())
    }

    async arrayBuffer(): Promise<ArrayBuffer> {
      return (await this.bytes()).buffer as ArrayBuffer
    }

    async blob(): Promise<Blob> {
      // The built-in one knows how the type is written.
      return new BuiltIn(await this.bytes(), { headers: this.headers }).blob()
    }

    async formData(): Promise<FormData> {
      return new BuiltIn(await this.bytes(), { headers: this.headers }).formData()
    }

    clone(): Response {
      if (this.bodyUsed || this.#readable?.locked === true) {
        throw new TypeError('Response.clone: the body has already been read, or is being read')
      }
      if (this.#empty) return new MeshResponse(this.#copiedHead(), new ResponseBody()) as unknown as Response
      if (this.#readable === undefined && !this.#aborted) {
        const copy = this.#body.fork()
        if (copy !== undefined) return new MeshResponse(this.#copiedHead(), copy) as unknown as Response
      }
      const [mine, theirs] = this.body!.tee()
      this.#readable = mine
      return this.#standIn(theirs)
    }

    /** After the signal has fired, nothing more can be read, as with every fetch. */
    get #aborted(): boolean {
      return this.#head.signal?.aborted === true
    }

    /** The body, if no stream was made of it. */
    #unread(): ResponseBody {
      if (this.#empty) return new ResponseBody().ended()
      if (this.#aborted && !this.#body.used) throw reasonOf(this.#head.signal!)
      return this.#body
    }

    /** With the headers as they are now. */
    #copiedHead(): ResponseHead {
      if (this.#headers === undefined) return this.#head
      const received: Record<string, string | string[]> = Object.fromEntries(this.#headers)
      const cookies = this.#headers.getSetCookie()
      if (cookies.length > 0) received['set-cookie'] = cookies
      return { ...this.#head, received }
    }

    /** The real thing, for what is rare: a body that was asked for as a stream. */
    #standIn(body: ReadableStream<Uint8Array> | null = this.body): Response {
      const response = new BuiltIn(body, { headers: this.headers })
      const { url, type, status, statusText, ok } = this
      for (const [name, value] of Object.entries({ url, type, status, statusText, ok })) {
        Object.defineProperty(response, name, { value, configurable: true })
      }
      return response
    }

    [inspect.custom](_depth: number, options: InspectOptions): string {
      const { status, statusText, headers, body, bodyUsed, ok, redirected, type, url } = this
      return `Response ${inspect({ status, statusText, headers, body, bodyUsed, ok, redirected, type, url }, options)}`
    }
  }
  Object.setPrototypeOf(MeshResponse.prototype, BuiltIn.prototype)
  // To code that makes another one of the same class, it is the built-in class.
  Object.defineProperty(MeshResponse.prototype, 'constructor', { value: BuiltIn, configurable: true, writable: true })
  return (head, body) => {
    const response = new MeshResponse(head, body)
    body.heldBy(response)
    return response as unknown as Response
  }
}

function errored(reason: unknown): ReadableStream<Uint8Array> {
  return new ReadableStream({
    type: 'bytes',
    start(controller) {
      controller.error(reason)
    },
  })
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
