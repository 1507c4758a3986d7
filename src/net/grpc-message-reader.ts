/**
 * Length-prefixed messages out of any pieces of bytes (PROTOCOL-HTTP2, "Length-Prefixed-Message").
 */

export const PREFIX_BYTES = 5

/** A prefix announces more than the receiver takes. */
export class MessageTooLarge extends Error {
  constructor(bytes: number, most: number) {
    // As grpc-js says it.
    super(`Received message larger than max (${bytes} vs ${most})`)
  }
}

export interface MessageListener {
  messageArrived(message: Buffer, compressed: boolean): void
}

export class MessageReader {
  readonly #listener: MessageListener
  readonly #most: number
  /** Of the prefix and the message that are incomplete. */
  #parts: Buffer[] = NONE
  #have = 0
  /** Prefix and message; 0: the prefix is incomplete. */
  #whole = 0

  /** `most`: the largest message in bytes. */
  constructor(listener: MessageListener, most: number) {
    this.#listener = listener
    this.#most = most
  }

  /** A message has begun and is not complete. */
  get within(): boolean {
    return this.#have > 0
  }

  /** Keeps `chunk`. @throws MessageTooLarge */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) at = this.#have > 0 ? this.#continue(chunk, at) : this.#begin(chunk, at)
  }

  /** At the beginning of a message; returns where the next one begins. */
  #begin(chunk: Buffer, at: number): number {
    const left = chunk.length - at
    if (left >= PREFIX_BYTES) {
      const whole = this.#wholeAt(chunk, at)
      if (left >= whole) {
        this.#listener.messageArrived(chunk.subarray(at + PREFIX_BYTES, at + whole), isCompressed(chunk[at]!))
        return at + whole
      }
      this.#whole = whole
    }
    this.#parts = [chunk.subarray(at)]
    this.#have = left
    return chunk.length
  }

  #continue(chunk: Buffer, at: number): number {
    if (this.#whole === 0) {
      const end = Math.min(chunk.length, at + PREFIX_BYTES - this.#have)
      this.#add(chunk.subarray(at, end))
      if (this.#have < PREFIX_BYTES) return end
      const prefix = Buffer.concat(this.#parts, PREFIX_BYTES)
      this.#parts = [prefix]
      this.#whole = this.#wholeAt(prefix, 0)
      if (this.#have === this.#whole) this.#complete()
      return end
    }
    const end = Math.min(chunk.length, at + this.#whole - this.#have)
    this.#add(chunk.subarray(at, end))
    if (this.#have === this.#whole) this.#complete()
    return end
  }

  #add(part: Buffer): void {
    this.#parts.push(part)
    this.#have += part.length
  }

  #complete(): void {
    const bytes = Buffer.concat(this.#parts, this.#whole)
    this.#parts = NONE
    this.#have = 0
    this.#whole = 0
    this.#listener.messageArrived(bytes.subarray(PREFIX_BYTES), isCompressed(bytes[0]!))
  }

  #wholeAt(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at + 1)
    if (length > this.#most) throw new MessageTooLarge(length, this.#most)
    return PREFIX_BYTES + length
  }
}

const NONE: Buffer[] = []

function isCompressed(flag: number): boolean {
  return flag === 1
}

/** `message` with its prefix, uncompressed. @throws RangeError, TypeError for what is no bytes */
export function withPrefix(message: Uint8Array): Buffer {
  const { byteLength } = message
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + byteLength)
  framed[0] = 0
  framed.writeUInt32BE(byteLength, 1)
  framed.set(message, PREFIX_BYTES)
  return framed
}
