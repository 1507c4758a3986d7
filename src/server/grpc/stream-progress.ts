/** What moves on the stream of a gRPC call, and whether its peer has stopped. */
import type { Socket } from 'node:net'
import { flushedBytes, IdleDetector, StallDetector } from '../stall-detector.ts'
import type { CallKind } from './handler.ts'

export class StreamProgress {
  kind: CallKind | undefined = undefined
  /** Messages received, the end of the requests counted. */
  received = 0
  halfClosed = false
  /** Messages that wait for the caller to take them, and those that were taken. */
  sending = 0
  taken = 0
  #reader: StallDetector | undefined = undefined
  #sender: IdleDetector | undefined = undefined

  /** Whether the peer neither takes what waits for it nor sends what the handler needs. */
  stopped(socket: Socket, now: number): boolean {
    if (this.sending > 0) {
      this.#reader ??= new StallDetector()
      return this.#reader.streamStopped(this.taken, flushedBytes(socket), now)
    }
    this.#reader = undefined
    // In both directions, silence may be meant.
    if (this.kind === 'bidi') return false
    if (this.kind === 'serverStream') return !this.halfClosed
    this.#sender ??= new IdleDetector()
    return this.#sender.idle(this.received, now)
  }
}
