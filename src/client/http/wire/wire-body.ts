/** The body of a request whose bytes still arrive. Its writer waits while much of it is unread. */
import type { ByteSource, BytesRead } from '../body/repeatable.ts'

const HIGH_WATER_BYTES = 65_536

export class WireBody implements ByteSource, AsyncIterable<Uint8Array> {
  /** Called when its writer may go on. */
  onDrained: (() => void) | undefined = undefined
  /** Called at the first read. */
  onWanted: (() => void) | undefined = undefined
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #ended = false
  #dropped = false
  #waiting: ((result: BytesRead) => void) | undefined = undefined

  /** All that will come is here and unread. */
  get whole(): Buffer | undefined {
    if (!this.#ended) return undefined
    return this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks, this.#bytes)
  }

  get bytes(): number {
    return this.#bytes
  }

  get full(): boolean {
    return this.#bytes >= HIGH_WATER_BYTES
  }

  push(chunk: Buffer): void {
    if (this.#dropped) return
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined) {
      waiting({ done: false, value: chunk })
      return
    }
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
  }

  end(): void {
    this.#ended = true
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.({ done: true })
  }

  getReader(): this {
    return this
  }

  read(): Promise<BytesRead> {
    const wanted = this.onWanted
    this.onWanted = undefined
    wanted?.()
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      this.#bytes -= chunk.length
      if (!this.full) this.onDrained?.()
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.#ended) return Promise.resolve({ done: true })
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  /** No reader wants more: what still arrives is dropped. */
  cancel(): Promise<void> {
    this.discard()
    this.end()
    return Promise.resolve()
  }

  /** The same, for a reader that must not take the rest for the end. */
  discard(): void {
    this.#dropped = true
    this.#chunks.length = 0
    this.#bytes = 0
    this.onDrained?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { done, value } = await this.read()
      if (done) return
      yield value
    }
  }
}
