/**
 * A request body that is read in parts, once. The first attempt that reads from it is the only one
 * that can send it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { Readable } from 'node:stream'
import { isUint8Array } from 'node:util/types'
import { OptionsError, show } from '../../../options/fields.ts'

type RunInContext = ReturnType<typeof AsyncLocalStorage.snapshot>

/** A source of the parts of a body. */
export type BodySource = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>

/** The attempt that sends a stream. */
export interface BodyWriter {
  /** The peer waits for the source, or no longer. */
  sourceWaits(waits: boolean): void
}

/** Takes a copy of what is sent. */
export interface BodyCopy {
  push(chunk: Uint8Array | string): void
  /** The source has ended; not called if it fails or is stopped. */
  end(): void
}

/**
 * A stream that can be stopped from outside and is read in its owner's async context, not in that
 * of the socket.
 */
export class StreamedBody implements AsyncIterableIterator<Uint8Array | string> {
  /** Part of it was read, so no other attempt can send it. */
  touched = false
  /** Notified of the first read. */
  onTouched: (() => void) | undefined = undefined
  /** Notified if the source fails, which says nothing about the peer. */
  onFailed: ((error: unknown) => void) | undefined = undefined
  writer: BodyWriter | undefined = undefined
  /** Gets everything that is sent. */
  copy: BodyCopy | undefined = undefined
  /** Bytes read so far. */
  bytes = 0
  readonly #open: () => BodySource
  readonly #inContext: RunInContext
  #source: BodySource | undefined
  #iterator: AsyncIterator<Uint8Array | string> | Iterator<Uint8Array | string> | undefined = undefined
  #stopped = false
  #stop: ((error?: Error) => void) | undefined = undefined
  #abandoned: Error | undefined = undefined

  /** `source`: opened already, or a function that opens it at the first read. */
  constructor(source: BodySource | (() => BodySource), inContext: RunInContext = AsyncLocalStorage.snapshot()) {
    this.#open = typeof source === 'function' ? source : () => source
    this.#source = typeof source === 'function' ? undefined : source
    this.#inContext = inContext
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    if (this.#abandoned !== undefined) return Promise.reject(this.#abandoned)
    if (this.#stopped) return Promise.resolve({ done: true, value: undefined })
    if (!this.touched) {
      this.touched = true
      if (this.#source !== undefined) begun.add(this.#source)
      this.onTouched?.()
    }
    this.writer?.sourceWaits(true)
    return new Promise((resolve, reject) => {
      this.#stop = (error) => (error === undefined ? resolve({ done: true, value: undefined }) : reject(error))
      this.#inContext(() => this.#read()).then(resolve, reject)
    })
  }

  return(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    this.stop()
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Reading ends: cancels the source and releases a pending read. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#stop?.()
    this.#inContext(() => this.#dispose())
  }

  /** Its attempt is over. What was sent of it is no whole body, and must not look like one. */
  abandon(error: Error): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#abandoned = error
    this.#stop?.(error)
    this.#inContext(() => this.#dispose())
  }

  async #read(): Promise<IteratorResult<Uint8Array | string, undefined>> {
    let result: IteratorResult<Uint8Array | string>
    try {
      this.#source ??= this.#open()
      this.#iterator ??= iteratorOf(this.#source)
      result = await this.#iterator.next()
      if (result.done !== true && !isChunk(result.value)) throw notBytes(result.value)
    } catch (error) {
      this.onFailed?.(error)
      throw error
    }
    this.writer?.sourceWaits(false)
    if (result.done === true) {
      this.#stopped = true
      this.copy?.end()
    } else {
      this.bytes += Buffer.byteLength(result.value)
      this.copy?.push(result.value)
    }
    return result.done === true ? { done: true, value: undefined } : result
  }

  async #dispose(): Promise<void> {
    if (this.#source === undefined) return
    try {
      // A Node stream and a web stream stop at once; a generator only when what it waits for has
      // come.
      if ('destroy' in this.#source && typeof this.#source.destroy === 'function') this.#source.destroy()
      else if (this.#iterator !== undefined) await this.#iterator.return?.(undefined)
      else if (this.#source instanceof ReadableStream) await this.#source.cancel()
    } catch {
      // The source failed to end, but the call is over and has its error.
    }
  }
}

/** Sources that give their parts once, and have begun to. */
const begun = new WeakSet<object>()

/** @throws OptionsError for what would be sent empty, or without its beginning */
export function checkUnused(source: BodySource): void {
  const { destroyed, readableEnded, locked } = source as Partial<Readable & ReadableStream>
  const used =
    source instanceof ReadableStream
      ? locked === true || Readable.isDisturbed(source as never)
      : destroyed === true || readableEnded === true || (begun.has(source) && isIterator(source))
  if (used) throw unusable('body', 'has been used')
}

/** The error for a body that cannot be sent. */
export function unusable(field: string, why: string, what = 'request'): OptionsError {
  return new OptionsError(what, [{ path: [field], message: `${why}: it can be read only once` }])
}

/** Its own iterator: a second loop over it goes on where the first has stopped. */
function isIterator(source: BodySource): boolean {
  return typeof (source as Partial<Iterator<unknown>>).next === 'function'
}

export function isChunk(value: unknown): boolean {
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
