/** What moves on the stream of a gRPC call, and whether its peer has stalled. */
import type { Socket } from 'node:net'
import { flushedBytes, IdleDetector, StallDetector } from '../stall-detector.ts'
import type { CallKind } from './internals.ts'

export class StreamProgress {
  kind: CallKind | undefined = undefined
  /** Messages received; the end of the requests counts as one. */
  received = 0
  halfClosed = false
  /** Messages that wait for the caller to read them. */
  sending = 0
  /** Messages that the caller's flow control has let pass. */
  sent = 0
  #reader: StallDetector | undefined = undefined
  #sender: IdleDetector | undefined = undefined

  /** Whether the peer neither reads what waits for it nor sends what the handler needs. */
  stalled(socket: Socket, now: number): boolean {
    if (this.sending > 0) {
      this.#reader ??= new StallDetector()
      return this.#reader.streamStalled(this.sent, flushedBytes(socket), now)
    }
    this.#reader = undefined
    // Silence in both directions may be intended.
    if (this.kind === 'bidi') return false
    if (this.kind === 'serverStream') return !this.halfClosed
    this.#sender ??= new IdleDetector()
    return this.#sender.idle(this.received, now)
  }
}
