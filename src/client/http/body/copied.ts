/**
 * A copy of a request body, made while an attempt sends it: the source is not asked twice. It keeps
 * as much as is kept for retries.
 */
import { MOST_KEPT_BYTES } from './repeatable.ts'
import type { BodyCopy } from './streamed.ts'

export class CopiedBody implements BodyCopy {
  /** Called once: with the whole body, or without if it is too large. */
  readonly #done: (bytes: Buffer | undefined) => void
  #chunks: Buffer[] | undefined = []
  #bytes = 0

  constructor(done: (bytes: Buffer | undefined) => void) {
    this.#done = done
  }

  /** The chunk is copied: its owner may use the memory again. */
  push(chunk: Uint8Array | string): void {
    if (this.#chunks === undefined) return
    const copy = Buffer.from(chunk as Uint8Array)
    this.#bytes += copy.length
    if (this.#bytes <= MOST_KEPT_BYTES) {
      this.#chunks.push(copy)
      return
    }
    this.#chunks = undefined
    this.#done(undefined)
  }

  end(): void {
    const chunks = this.#chunks
    this.#chunks = undefined
    if (chunks !== undefined) this.#done(Buffer.concat(chunks))
  }
}
