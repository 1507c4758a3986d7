/**
 * The messages of one gRPC call, serialized, kept so that another attempt can send them again. Once
 * the call is committed to one attempt, what that one has sent is let go; beyond a bound of bytes
 * the first attempt that has sent all of them is the one (gRFC A6, "Memory").
 */
import type { MessageContext } from './grpc-js.ts'
import { GrpcWrite } from './write-callback.ts'

/** Kept for one call; beyond it the call is committed. */
export const MOST_BUFFERED_BYTES = 262_144

const NONE: Entry[] = []

export class ReplayBuffer {
  /** The caller has no more messages. */
  closed = false
  #entries: Entry[] = NONE
  /** Index of the first that is still kept. */
  #first = 0
  #bytes = 0

  /** Index behind the last. */
  get end(): number {
    return this.#first + this.#entries.length
  }

  /** More is kept than may be. */
  get outgrown(): boolean {
    return this.#bytes > MOST_BUFFERED_BYTES
  }

  add(context: MessageContext, message: Buffer): void {
    this.#bytes += message.length
    const entry = new Entry(context, message)
    // A list that begins with its first is made for one, and most calls have no more; an empty one
    // would be given room for 17.
    if (this.#entries === NONE) this.#entries = [entry]
    else this.#entries.push(entry)
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.#first]
  }

  /** Nobody will need those before `index` again. */
  release(index: number): void {
    while (this.#first < index && this.#entries.length > 0) {
      this.#bytes -= this.#entries.shift()!.message.length
      this.#first += 1
    }
  }

  /** The call is over. Those that were kept, so that who waits for them to leave waits no more. */
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
  /** Of who waits for it to leave; several may write to one stream. */
  readonly #write: GrpcWrite | undefined

  constructor({ callback, flags }: MessageContext, message: Buffer) {
    this.message = message
    this.flags = flags
    this.#write = callback === undefined ? undefined : new GrpcWrite(callback)
  }

  /** An attempt has sent it; the caller is told the first time. */
  written(): void {
    this.#write?.done()
  }
}
