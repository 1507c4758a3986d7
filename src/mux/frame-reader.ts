/**
 * Frames out of any pieces of bytes. Only a frame that arrives in pieces is copied; it is kept
 * within the bound of one frame.
 */
import { FRAME, FRAME_HEAD_BYTES, MAX_HEAD_BYTES, MAX_PAYLOAD_BYTES } from './wire.ts'

export interface FrameListener {
  /** `bytes` from `from` to `to` are the payload; they are valid only during the call. */
  frameArrived(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void
  frameTooLong(length: number): void
}

const MOST_BYTES = FRAME_HEAD_BYTES + MAX_HEAD_BYTES

export class FrameReader {
  readonly #listener: FrameListener
  /** The beginning of a frame. */
  #partial: Buffer | undefined = undefined
  #kept = 0
  #stopped = false

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** Whether a frame has begun and is not complete. */
  get within(): boolean {
    return this.#kept > 0
  }

  /** Ignores everything from now on. */
  stop(): void {
    this.#stopped = true
    this.#partial = undefined
    this.#kept = 0
  }

  /** Nothing of `bytes` is kept without a copy. */
  push(bytes: Buffer): void {
    let at = this.#kept > 0 ? this.#complete(bytes) : 0
    const { length } = bytes
    while (!this.#stopped && length - at >= FRAME_HEAD_BYTES) {
      const payload = lengthAt(bytes, at)
      if (payload > mostOf(bytes[at + 3]!)) {
        this.#listener.frameTooLong(payload)
        return
      }
      const next = at + FRAME_HEAD_BYTES + payload
      if (next > length) break
      this.#deliver(bytes, at, next)
      at = next
    }
    if (at < length && !this.#stopped) this.#keep(bytes, at, length)
  }

  /** Completes the kept frame; returns where the next one begins. */
  #complete(bytes: Buffer): number {
    let at = 0
    if (this.#kept < FRAME_HEAD_BYTES) {
      at = this.#keep(bytes, 0, Math.min(FRAME_HEAD_BYTES - this.#kept, bytes.length))
      if (this.#kept < FRAME_HEAD_BYTES) return at
    }
    const partial = this.#partial!
    const payload = lengthAt(partial, 0)
    if (payload > mostOf(partial[3]!)) {
      this.#listener.frameTooLong(payload)
      return bytes.length
    }
    const whole = FRAME_HEAD_BYTES + payload
    at = this.#keep(bytes, at, Math.min(at + whole - this.#kept, bytes.length))
    if (this.#kept < whole) return at
    const frame = this.#partial!
    this.#partial = undefined
    this.#kept = 0
    this.#deliver(frame, 0, whole)
    return at
  }

  #keep(bytes: Buffer, from: number, to: number): number {
    const needed = this.#kept + to - from
    if (this.#partial === undefined || this.#partial.length < needed) {
      // A frame in many small pieces must not be copied once for each.
      const grown = Buffer.allocUnsafe(Math.min(MOST_BYTES, Math.max(256, needed * 2)))
      this.#partial?.copy(grown, 0, 0, this.#kept)
      this.#partial = grown
    }
    bytes.copy(this.#partial, this.#kept, from, to)
    this.#kept = needed
    return to
  }

  #deliver(bytes: Buffer, at: number, to: number): void {
    const stream = bytes[at + 5]! * 0x1000000 + ((bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!)
    this.#listener.frameArrived(bytes[at + 3]!, bytes[at + 4]!, stream, bytes, at + FRAME_HEAD_BYTES, to)
  }
}

function lengthAt(bytes: Buffer, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
}

/** The longest payload of a frame of `type`. */
function mostOf(type: number): number {
  return type === FRAME.REQUEST || type === FRAME.RESPONSE || type === FRAME.TRAILERS
    ? MAX_HEAD_BYTES
    : MAX_PAYLOAD_BYTES
}
