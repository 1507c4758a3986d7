/** Whether a body of gRPC ends between two messages; it keeps none of their bytes. */
import { PREFIX_BYTES } from '../../net/grpc-message-reader.ts'

export class MessageBoundary {
  /** Bytes of the message that are still to come. */
  #left = 0
  /** Bytes of an incomplete prefix, and the length in it so far. */
  #prefix = 0
  #length = 0

  /** A message has begun and is not complete. */
  get within(): boolean {
    return this.#left > 0 || this.#prefix > 0
  }

  follow(chunk: Buffer): void {
    const end = chunk.length
    let at = 0
    while (at < end) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, end - at)
        this.#left -= taken
        at += taken
      } else if (this.#prefix === 0 && end - at >= PREFIX_BYTES) {
        this.#left = chunk.readUInt32BE(at + 1)
        at += PREFIX_BYTES
      } else this.#nextOfPrefix(chunk[at++]!)
    }
  }

  #nextOfPrefix(byte: number): void {
    // The first is the flag of compression.
    if (this.#prefix > 0) this.#length = this.#length * 256 + byte
    this.#prefix += 1
    if (this.#prefix < PREFIX_BYTES) return
    this.#left = this.#length
    this.#prefix = 0
    this.#length = 0
  }
}
