/** The open streams of a session, and the numbers of those that were. */
import { OpenStreams } from './open-streams.ts'
import type { MuxReset, MuxStream } from './stream.ts'
import { LAST_STREAM } from './wire.ts'

export class StreamTable {
  readonly open = new OpenStreams()
  /** The last stream that was opened, or skipped. */
  lastStream = 0
  /** The last that we serve, after our GOAWAY. */
  servesUntil = LAST_STREAM
  /** A stream has closed. */
  readonly #closed: () => void

  constructor(closed: () => void) {
    this.#closed = closed
  }

  add(stream: MuxStream): void {
    this.lastStream = stream.id
    this.open.add(stream)
  }

  /** Later requests are not served. */
  leave(): void {
    this.servesUntil = Math.min(this.servesUntil, this.lastStream)
  }

  close(stream: MuxStream): void {
    if (stream.closed) return
    stream.close()
    this.open.delete(stream)
    this.#closed()
  }

  /** Closes a stream that does not end well, and notifies its user. */
  lose(stream: MuxStream, reset: MuxReset): void {
    if (stream.closed) return
    this.close(stream)
    stream.discardUnread()
    stream.events.wasReset(stream, reset)
  }

  /** Loses those after `last`. */
  loseAfter(last: number, resetOf: (stream: MuxStream) => MuxReset): void {
    for (const stream of this.open) if (stream.id > last) this.lose(stream, resetOf(stream))
  }
}
