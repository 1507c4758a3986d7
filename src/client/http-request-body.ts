/**
 * What a request carries: bytes, which every attempt can send again, or a stream, which only the attempt that first reads from
 * it can send. As long as nobody has read from a stream, another attempt may still take it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { isAnyArrayBuffer, isUint8Array } from 'node:util/types'
import { OptionsError, show } from '../core/fields.ts'
import { adoptBody, isSized } from './http-foreign-body.ts'

/** Bodies as users give them: those of `fetch`, Node's streams, and any iterable of bytes or text. */
export type BodyInput =
  | string
  | Uint8Array
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | FormData
  | URLSearchParams
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  | Iterable<Uint8Array | string>

/** A body ready to send, and the content type that follows from its kind. */
export interface RequestBody {
  readonly content: Uint8Array | StreamedBody
  readonly contentType: string | undefined
  /** Of a stream whose length is known beforehand. */
  readonly length?: number
}

/** The attempt that sends a stream. */
export interface BodyWriter {
  /** The peer waits for the source, or no longer. */
  sourceWaits(waits: boolean): void
}

/** A stream that can be stopped from outside and is read in its owner's async context, not in that of the socket. */
export class StreamedBody implements AsyncIterableIterator<Uint8Array | string> {
  /** Something was read: no other attempt can send it from the start. */
  touched = false
  /** Hears of the first read. */
  onTouched: (() => void) | undefined = undefined
  /** Hears that the source itself failed, which says nothing about the peer. */
  onFailed: ((error: unknown) => void) | undefined = undefined
  writer: BodyWriter | undefined = undefined
  readonly #source: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>
  readonly #inContext = AsyncLocalStorage.snapshot()
  #iterator: AsyncIterator<Uint8Array | string> | Iterator<Uint8Array | string> | undefined = undefined
  #stopped = false
  #stop: (() => void) | undefined = undefined

  constructor(source: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>) {
    this.#source = source
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    if (this.#stopped) return Promise.resolve({ done: true, value: undefined })
    if (!this.touched) {
      this.touched = true
      this.onTouched?.()
    }
    this.writer?.sourceWaits(true)
    return new Promise((resolve, reject) => {
      this.#stop = () => resolve({ done: true, value: undefined })
      this.#inContext(() => this.#read()).then(resolve, reject)
    })
  }

  return(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    this.stop()
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Nobody will read on: the source is told, whoever waits for a chunk is released. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#stop?.()
    this.#inContext(() => this.#dispose())
  }

  async #read(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    let result: IteratorResult<Uint8Array | string>
    try {
      this.#iterator ??= iteratorOf(this.#source)
      result = await this.#iterator.next()
      if (result.done !== true && !isChunk(result.value)) throw notBytes(result.value)
    } catch (error) {
      this.onFailed?.(error)
      throw error
    }
    this.writer?.sourceWaits(false)
    if (result.done === true) this.#stopped = true
    return result.done === true ? { done: true, value: undefined } : result
  }

  async #dispose(): Promise<void> {
    try {
      // A Node stream and a web stream stop at once; a generator only when what it waits for has come.
      if ('destroy' in this.#source && typeof this.#source.destroy === 'function') this.#source.destroy()
      else if (this.#iterator !== undefined) await this.#iterator.return?.(undefined)
      else if (this.#source instanceof ReadableStream) await this.#source.cancel()
    } catch {
      // The source's own failure to end: the call is over already, and was told why.
    }
  }
}

function isChunk(value: unknown): boolean {
  return typeof value === 'string' || isUint8Array(value)
}

function notBytes(value: unknown): TypeError {
  return new TypeError(`a body gives text or bytes (string, Uint8Array), and this one gave ${show(value)}`)
}

function iteratorOf(
  source: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): AsyncIterator<Uint8Array | string> | Iterator<Uint8Array | string> {
  if (source instanceof ReadableStream) {
    const reader = (source as ReadableStream<Uint8Array>).getReader()
    return {
      next: () => reader.read() as Promise<IteratorResult<Uint8Array>>,
      // The stream's own iterator would wait for the chunk that is being read.
      return: async () => {
        await reader.cancel()
        return { done: true, value: undefined }
      },
    }
  }
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
}

/**
 * Any body as `fetch` and undici know them; `undefined` and `null`: none.
 * @throws OptionsError for anything else.
 */
export function requestBody(body: BodyInput | null | undefined): RequestBody | undefined {
  if (body === undefined || body === null) return undefined
  if (typeof body === 'string') return { content: Buffer.from(body), contentType: 'text/plain;charset=UTF-8' }
  if (isUint8Array(body)) return { content: body, contentType: undefined }
  if (isAnyArrayBuffer(body)) return { content: new Uint8Array(body), contentType: undefined }
  if (ArrayBuffer.isView(body)) {
    return { content: new Uint8Array(body.buffer, body.byteOffset, body.byteLength), contentType: undefined }
  }
  if (body instanceof URLSearchParams) {
    return { content: Buffer.from(body.toString()), contentType: 'application/x-www-form-urlencoded;charset=UTF-8' }
  }
  if (body instanceof FormData) {
    // Node's own encoder; it chooses the boundary.
    const encoded = new Response(body)
    return { content: new StreamedBody(encoded.body!), contentType: encoded.headers.get('content-type') ?? undefined }
  }
  if (body instanceof Blob) {
    return {
      content: new StreamedBody(body.stream()),
      contentType: body.type === '' ? undefined : body.type,
      length: body.size,
    }
  }
  const adopted = typeof body === 'object' && !(body instanceof ReadableStream) ? adoptBody(body) : undefined
  if (adopted !== undefined) {
    if (!isSized(adopted)) return requestBody(adopted)
    const contentType = adopted.type === '' ? undefined : adopted.type
    return { content: new StreamedBody(adopted.source), contentType, length: adopted.size }
  }
  if (typeof body === 'object' && (Symbol.asyncIterator in body || Symbol.iterator in body)) {
    return { content: new StreamedBody(body), contentType: undefined }
  }
  throw new OptionsError('request', [
    { path: ['body'], message: `expected text, bytes, a Blob, a form, a stream or an iterable, got ${show(body)}` },
  ])
}

/** A value as JSON. @throws OptionsError if it has no JSON form. */
export function jsonBody(value: unknown): RequestBody {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new OptionsError('request', [
      { path: ['json'], message: `expected a value with a JSON form: ${(error as Error).message}` },
    ])
  }
  if (json === undefined) {
    throw new OptionsError('request', [
      { path: ['json'], message: `expected a value with a JSON form, got ${show(value)}` },
    ])
  }
  return { content: Buffer.from(json), contentType: 'application/json' }
}
