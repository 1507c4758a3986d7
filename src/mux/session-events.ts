/** What a session notifies its owner of. */
import type { MuxStream } from './stream.ts'
import type { GoAwayCode } from './wire.ts'

/** The owner of a session. Must not throw. */
export interface SessionEvents {
  /**
   * A server's: sets `stream.events`. A body that came with the head follows by
   * {@link StreamEvents.dataArrived}.
   */
  requestArrived(stream: MuxStream, method: string, path: string, headers: string[], end: boolean): void
  /** A server's: a request was reset before it arrived, because it breaks a rule or a bound. */
  requestRefused?(reason: string): void
  /** The peer's SETTINGS have arrived. */
  settled(): void
  /** The peer takes no more streams. Those after `lastStream` have been reset. */
  goingAway(lastStream: number, code: number, reason: string): void
  /** A stream has closed. */
  roomChanged(): void
  /** A client's: the peer has answered our PING. */
  pingAnswered?(): void
  /**
   * The peer breaks the rules or the bounds, and the connection ends. Called once. With the code
   * FLOOD, `reason` is a `FloodReason`.
   */
  broken(code: GoAwayCode, reason: string): void
  /** The socket has closed, and all streams have been reset. */
  closed(cause: Error | undefined): void
}
