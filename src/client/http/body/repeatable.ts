/**
 * Bodies that are read in parts and can be sent again; each attempt opens a separate stream. Blobs,
 * forms and lists are read anew, and a Request's body is buffered.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { type BodySource, StreamedBody } from './streamed.ts'

export class RepeatableBody {
  /** Hears that the source itself failed, which says nothing about the peer. */
  onFailed: ((error: unknown) => void) | undefined = undefined
  /** Hears that only the attempt that sends it now can send it; may hear so often. */
  onOutgrown: (() => void) | undefined = undefined
  /** Two attempts may send it at the same time. */
  readonly shareable: boolean = true
  readonly #open: () => BodySource
  readonly #inContext = AsyncLocalStorage.snapshot()

  /** `open`: the whole body from its start, each time. */
  constructor(open: () => BodySource) {
    this.#open = open
  }

  /** For one attempt; nothing is opened before its first read. */
  open(): StreamedBody {
    const stream = new StreamedBody(this.#open, this.#inContext)
    stream.onFailed = (error) => this.onFailed?.(error)
    return stream
  }

  /** No attempt will open it any more. */
  close(): void {}
}

/** As much as is kept of a gRPC call: beyond it, a body is sent once. */
export const MOST_KEPT_BYTES = 262_144
/** Data in memory arrives within this many turns of the event loop. */
const MOST_TURNS = 4

/** A part of a body, or its end. */
export type BytesRead =
  | { readonly done: false; readonly value: Uint8Array }
  | { readonly done: true; readonly value?: undefined }

/** What a body is read from that can be read once; a web stream is one. */
export interface ByteSource {
  getReader(): {
    read(): Promise<BytesRead>
    cancel(): Promise<void>
  }
}

/**
 * A stream that can be read once, of which what was read is kept so that another attempt can send
 * it again.
 */
export class KeptBody extends RepeatableBody {
  /** What both keep would have to be kept for the slower. */
  override readonly shareable = false
  readonly #source: ByteSource
  #reader: ReturnType<ByteSource['getReader']> | undefined
  readonly #chunks: (Uint8Array | undefined)[] = []
  #bytes = 0
  #ended = false
  #outgrown = false
  #reading: Promise<void> | undefined

  constructor(source: ByteSource) {
    super(() => this.#fromStart())
    this.#source = source
  }

  /** Locks the source: no other reader may use it. */
  begin(): void {
    this.#reader = this.#source.getReader()
    this.#reading = this.#pull()
    // The attempt that needs it receives the error.
    this.#reading.catch(() => {})
  }

  /**
   * The whole, if it is there at once and fits the bound or one chunk, as that of a Request made
   * from text: then its length is known, too. A stream that takes longer is not waited for.
   */
  short(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      let late = false
      let turns = 0
      const turn = (): void => {
        turns += 1
        if (turns < MOST_TURNS) {
          timer = setImmediate(turn)
          return
        }
        late = true
        resolve(undefined)
      }
      let timer = setImmediate(turn)
      const read = async (): Promise<void> => {
        while (!late && !this.#ended && (this.#bytes <= MOST_KEPT_BYTES || this.#chunks.length === 1)) {
          this.#reading ??= this.#pull()
          await this.#reading
        }
        clearImmediate(timer)
        resolve(this.#ended ? Buffer.concat(this.#chunks as Uint8Array[]) : undefined)
      }
      read().catch(() => {
        clearImmediate(timer)
        // The attempt that sends it meets the same error.
        resolve(undefined)
      })
    })
  }

  override close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#reader?.cancel().catch(() => {})
  }

  async *#fromStart(): AsyncGenerator<Uint8Array> {
    for (let i = 0; ; i++) {
      while (i >= this.#chunks.length) {
        if (this.#ended) return
        this.#reading ??= this.#pull()
        await this.#reading
      }
      const chunk = this.#chunks[i]!
      if (this.#outgrown) {
        this.#chunks[i] = undefined
        this.onOutgrown?.()
      }
      yield chunk
    }
  }

  async #pull(): Promise<void> {
    const { done, value } = await this.#reader!.read()
    this.#reading = undefined
    if (done) {
      this.#ended = true
      return
    }
    this.#chunks.push(value)
    this.#bytes += value.length
    if (this.#bytes > MOST_KEPT_BYTES) this.#outgrown = true
  }
}
