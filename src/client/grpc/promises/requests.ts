/**
 * The requests of a stream, taken from an iterable as fast as the peer takes them. The source is
 * let go once, as soon as the call is over, even while it waits for its next item.
 */
import type { Writable } from 'node:stream'

/** What a stream of requests may come from; a web or Node stream is one, too. */
export type Requests<T> = Iterable<T> | AsyncIterable<T>

/** One run through a source. */
export interface Source {
  next(): PromiseLike<IteratorResult<unknown, unknown>>
  /** No more is wanted. Never throws, and does not wait. */
  letGo(): void
}

/**
 * grpc-js's call, by the type of Node's: the public types reach this file, and grpc-js is optional.
 */
type Sink = Writable & { cancel(): void }

/** Whether `value` can be given to {@link openSource}. */
export function isSource(value: unknown): value is Requests<unknown> {
  const given = value as Partial<Record<symbol, unknown>> | null | undefined
  return typeof (given?.[Symbol.asyncIterator] ?? given?.[Symbol.iterator]) === 'function'
}

/** @throws what the source throws when it is asked for an iterator */
export function openSource(requests: Requests<unknown>): Source {
  if (requests instanceof ReadableStream) return ofWebStream(requests)
  // A list is a value: its owner may fill it anew for the next call.
  const given = (Array.isArray(requests) ? [...requests] : requests) as Partial<
    AsyncIterable<unknown> & Iterable<unknown>
  >
  const iterator = given[Symbol.asyncIterator]?.() ?? ofSync(given[Symbol.iterator]!())
  // The iterator of a Node stream lets go only behind its next chunk.
  const { destroy } = requests as { destroy?: () => void }
  const isNodeStream = typeof destroy === 'function' && 'readable' in requests
  return {
    next: () => iterator.next(),
    letGo() {
      ignoreFailure(() => iterator.return?.())
      if (isNodeStream) ignoreFailure(() => destroy.call(requests))
    },
  }
}

/** By a reader: the stream's own iterator lets go only behind its next chunk. */
function ofWebStream(stream: ReadableStream<unknown>): Source {
  const reader = stream.getReader()
  return {
    async next() {
      const result = await reader.read()
      if (result.done) reader.releaseLock()
      return result as IteratorResult<unknown, unknown>
    },
    letGo: () => ignoreFailure(() => reader.cancel()),
  }
}

/** Promises among the items are awaited, as `for await` does it. */
function ofSync(iterator: Iterator<unknown>): AsyncIterator<unknown> {
  return {
    async next() {
      const { done, value } = iterator.next()
      try {
        return { done: done === true, value: await value }
      } catch (error) {
        if (done !== true) ignoreFailure(() => iterator.return?.())
        throw error
      }
    },
    async return() {
      return iterator.return?.() ?? { done: true, value: undefined }
    },
  }
}

function ignoreFailure(work: () => unknown): void {
  try {
    Promise.resolve(work()).catch(() => {})
  } catch {
    // The call is over: there is no one left to tell.
  }
}

/** Writes the items of one source to one call. What the source throws cancels the call. */
export class RequestWriter {
  readonly #source: Source
  readonly #call: Sink
  readonly #failed: (error: unknown) => void
  #over = false
  /** The source has ended by itself. */
  #exhausted = false
  #resume: (() => void) | undefined = undefined

  constructor(source: Source, call: Sink, failed: (error: unknown) => void) {
    this.#source = source
    this.#call = call
    this.#failed = failed
    // One listener and one promise for the whole stream: a race for each message would keep
    // something of each.
    call.on('drain', () => this.#resume?.())
    void new Promise<void>((resolve) => {
      const end = (): void => resolve()
      call.on('error', end).on('status', end).on('close', end)
    }).then(() => this.#end())
    void this.#run()
  }

  async #run(): Promise<void> {
    const call = this.#call
    try {
      while (!this.#over) {
        const { done, value } = await this.#next()
        if (this.#over) return
        if (done === true) {
          call.end()
          return
        }
        if (!call.write(value)) await new Promise<void>((resolve) => (this.#resume = resolve))
      }
    } catch (error) {
      if (this.#over) return
      this.#failed(error)
      call.cancel()
    }
  }

  async #next(): Promise<IteratorResult<unknown, unknown>> {
    try {
      const result = await this.#source.next()
      this.#exhausted = result.done === true
      return result
    } catch (error) {
      this.#exhausted = true
      throw error
    }
  }

  #end(): void {
    this.#over = true
    this.#resume?.()
    if (this.#exhausted) return
    this.#exhausted = true
    this.#source.letGo()
  }
}
