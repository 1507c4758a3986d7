/**
 * Follows the frames of one direction of a WebSocket (RFC 6455, 5.2), split at any byte, and makes
 * the control frames that are sent between them.
 */
import { randomBytes } from 'node:crypto'

const CLOSE = 0x8
const PING = 0x9
const FINAL = 0x80
const MASKED = 0x80
const MAX_FRAME_HEAD = 14
/** Going away (RFC 6455, 7.4.1). */
const GOING_AWAY = [0x03, 0xe9] as const

export class FrameFollower {
  readonly #head = Buffer.alloc(MAX_FRAME_HEAD)
  #headBytes = 0
  #payloadLeft = 0
  #closing = false

  /** A close frame has begun; nothing is followed after it. */
  get closing(): boolean {
    return this.#closing
  }

  /** Whether another frame may begin here. */
  get between(): boolean {
    return !this.#closing && this.#headBytes === 0 && this.#payloadLeft === 0
  }

  /** Takes the next bytes, beginning at `from`. */
  follow(bytes: Uint8Array, from = 0): void {
    let at = from
    while (at < bytes.length && !this.#closing) at = this.#followFrame(bytes, at)
  }

  /** Returns the offset of the end of the frame, or of its part in `bytes`. */
  #followFrame(bytes: Uint8Array, from: number): number {
    let at = from
    if (this.#payloadLeft === 0) {
      const head = this.#head
      while (at < bytes.length && (this.#headBytes < 2 || this.#headBytes < headLength(head))) {
        head[this.#headBytes++] = bytes[at++]!
      }
      if (this.#headBytes < 2 || this.#headBytes < headLength(head)) return at
      this.#headBytes = 0
      this.#payloadLeft = payloadLength(head)
      if ((head[0]! & 0x0f) === CLOSE) this.#closing = true
    }
    const part = Math.min(this.#payloadLeft, bytes.length - at)
    this.#payloadLeft -= part
    return at + part
  }
}

/** A close frame with status 1001, going away. Clients send masked frames, servers do not. */
export function goingAwayFrame(masked: boolean): Buffer {
  return controlFrame(CLOSE, GOING_AWAY, masked)
}

/** A ping without a payload. */
export function pingFrame(masked: boolean): Buffer {
  return controlFrame(PING, [], masked)
}

function controlFrame(opcode: number, payload: readonly number[], masked: boolean): Buffer {
  if (!masked) return Buffer.from([FINAL | opcode, payload.length, ...payload])
  const mask = randomBytes(4)
  return Buffer.from([
    FINAL | opcode,
    MASKED | payload.length,
    ...mask,
    ...payload.map((byte, at) => byte ^ mask[at % 4]!),
  ])
}

function headLength(head: Buffer): number {
  const length = head[1]! & 0x7f
  const mask = head[1]! >= MASKED ? 4 : 0
  return 2 + mask + (length === 127 ? 8 : length === 126 ? 2 : 0)
}

function payloadLength(head: Buffer): number {
  const length = head[1]! & 0x7f
  if (length === 127) return Number(head.readBigUInt64BE(2))
  return length === 126 ? head.readUInt16BE(2) : length
}
