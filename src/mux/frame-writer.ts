/**
 * Collects the frames of one turn of the event loop in one piece of memory, so that they leave in
 * one write: one system call and, with TLS, one record for many calls.
 */
import { writeLatin1 } from './bytes.ts'
import { FLAG, FRAME, FRAME_HEAD_BYTES, MAX_PAYLOAD_BYTES } from './wire.ts'

/** Holds four full frames. */
const PIECE_BYTES = 4 * (FRAME_HEAD_BYTES + MAX_PAYLOAD_BYTES)
/** Pieces that idle sessions share. */
const MOST_SPARE = 8
const spare: Buffer[] = []

/** Gives a piece back after its bytes have left. */
export function releasePiece(piece: Buffer): void {
  if (piece.length === PIECE_BYTES && spare.length < MOST_SPARE) spare.push(piece)
}

/** Where the flags of a frame are, from its beginning. */
export const FLAGS_AT = 4

/** Returns where it ends. Node's method checks its arguments, which every head would pay for. */
export function writeU32(piece: Buffer, at: number, value: number): number {
  piece[at] = value >>> 24
  piece[at + 1] = value >>> 16
  piece[at + 2] = value >>> 8
  piece[at + 3] = value
  return at + 4
}

export class FrameWriter {
  /** `undefined` while nothing waits, so an idle session holds no memory. */
  piece: Buffer | undefined = undefined
  at = 0
  /** Called when the piece is full, before more is written. */
  readonly #full: () => void

  constructor(full: () => void) {
    this.#full = full
  }

  /** Makes room for `bytes` and returns the memory. */
  room(bytes: number): Buffer {
    if (this.piece !== undefined && this.at + bytes > this.piece.length) this.#full()
    this.piece ??= spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    return this.piece
  }

  /** Takes the piece away: the bytes to `at` are to be sent. */
  take(): Buffer | undefined {
    const { piece } = this
    this.piece = undefined
    this.at = 0
    return piece
  }

  /** Begins a frame of up to `bytes` of payload; returns where. */
  begin(type: number, flags: number, stream: number, bytes: number): number {
    const piece = this.room(FRAME_HEAD_BYTES + bytes)
    const { at } = this
    piece[at + 3] = type
    piece[at + FLAGS_AT] = flags
    this.at = writeU32(piece, at + 5, stream)
    return at
  }

  /** Ends the frame that began at `start`. */
  finish(start: number): void {
    const piece = this.piece!
    const length = this.at - start - FRAME_HEAD_BYTES
    piece[start] = length >> 16
    piece[start + 1] = length >> 8
    piece[start + 2] = length
  }

  bytes(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const start = this.begin(type, flags, stream, payload.length)
    this.piece!.set(payload, this.at)
    this.at += payload.length
    this.finish(start)
  }

  window(stream: number, credit: number): void {
    const start = this.begin(FRAME.WINDOW, 0, stream, 4)
    this.at = writeU32(this.piece!, this.at, credit)
    this.finish(start)
  }

  reset(stream: number, code: number, reason: string): void {
    const start = this.begin(FRAME.RESET, 0, stream, 1 + reason.length)
    this.piece![this.at++] = code
    this.at += writeLatin1(this.piece!, reason, this.at)
    this.finish(start)
  }

  goAway(lastStream: number, code: number, reason: string): void {
    const start = this.begin(FRAME.GOAWAY, 0, 0, 5 + reason.length)
    this.at = writeU32(this.piece!, this.at, lastStream)
    this.piece![this.at++] = code
    this.at += writeLatin1(this.piece!, reason, this.at)
    this.finish(start)
  }

  ping(payload: Uint8Array, ack: boolean): void {
    this.bytes(FRAME.PING, ack ? FLAG.ACK : 0, 0, payload)
  }
}
