/**
 * The serialized messages of one gRPC call, kept for further attempts. Once the call is committed
 * to an attempt, messages that it has sent are released; an overfull buffer commits the call (gRFC
 * A6).
 */
import type { MessageContext } from './grpc-js.ts'
import { GrpcWrite } from './write-callback.ts'

/** Bytes kept for one call. Beyond it the call is committed. */
export const MOST_BUFFERED_BYTES = 262_144

const NONE: Entry[] = []

export class ReplayBuffer {
  /** The caller has sent its last message. */
  closed = false
  #entries: Entry[] = NONE
  /** Index of the first that is still kept. */
  #first = 0
  #bytes = 0
  /** Bytes of all messages so far. */
  total = 0

  /** One past the index of the last message. */
  get end(): number {
    return this.#first + this.#entries.length
  }

  /** It holds more than the limit. */
  get outgrown(): boolean {
    return this.#bytes > MOST_BUFFERED_BYTES
  }

  /** All messages so far; `undefined` if some were released, or are more than the limit. */
  get whole(): readonly Entry[] | undefined {
    return this.#first > 0 || this.isLarge ? undefined : [...this.#entries]
  }

  /** All messages together, released ones included, are more than the limit. */
  get isLarge(): boolean {
    return this.total > MOST_BUFFERED_BYTES
  }

  add(context: MessageContext, message: Buffer): void {
    this.#bytes += message.length
    this.total += message.length
    const entry = new Entry(context, message)
    // Most calls have one message. A literal reserves room for one, a push to an empty array for
    // 17.
    if (this.#entries === NONE) this.#entries = [entry]
    else this.#entries.push(entry)
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.#first]
  }

  /** Releases the messages before `index`. */
  release(index: number): void {
    while (this.#first < index && this.#entries.length > 0) {
      this.#bytes -= this.#entries.shift()!.message.length
      this.#first += 1
    }
  }

  /**
   * The call is over. Returns the entries that were kept, so that their writers can be released.
   */
  clear(): readonly Entry[] {
    const entries = this.#entries
    this.#first = this.end
    this.#entries = NONE
    this.#bytes = 0
    return entries
  }
}

export class Entry {
  readonly message: Buffer
  readonly flags: number | undefined
  /** The writer's callback. Several writers may share one stream. */
  readonly #write: GrpcWrite | undefined

  constructor({ callback, flags }: MessageContext, message: Buffer) {
    this.message = message
    this.flags = flags
    this.#write = callback === undefined ? undefined : new GrpcWrite(callback)
  }

  /** For sending it; `callback` runs when it has left. */
  context(callback: () => void): MessageContext {
    return this.flags === undefined ? { callback } : { callback, flags: this.flags }
  }

  /** An attempt has sent it. The first time, the writer's callback runs. */
  written(): void {
    this.#write?.done()
  }

  /** {@link written}, after the event loop has turned. */
  writtenSoon(): void {
    if (this.#write !== undefined) setImmediate(written, this)
  }
}

function written(entry: Entry): void {
  entry.written()
}
