/**
 * What a pool knows of its connections, whatever they speak: how many calls they take, when they
 * retire, and how they close.
 */
import type { ShownCertificate } from '../peer-end.ts'
import type { ConnectionUser, RequestConnection } from './connection-user.ts'

export interface PooledConnection extends RequestConnection {
  /** Whether it carries several calls at once. Otherwise its pool keeps it aside while one runs. */
  readonly shared: boolean
  /** Calls that it takes besides those that run. */
  readonly room: number
  /** Calls that run on it. */
  readonly running: number
  /** Instant from which it takes no calls; `Infinity` until it must be replaced. */
  retireAt: number
  /** End of the peer's certificate, wall clock. */
  endsAt: number
  readonly peer: ShownCertificate | undefined
  /** Since when no call runs on it. */
  readonly idleSince: number
  /** The call on it; `undefined` if it is shared. */
  user: ConnectionUser | undefined
  /** No call runs on it: it notices when its peer closes it, and keeps no process alive. */
  park(now: number): void
  /** Takes no more calls, and closes after those that run. */
  finish(): void
  /** Closes at once, whatever runs on it. */
  close(): void
  /** Closes at once, because of its peer. */
  cut(cause: Error): void
  /**
   * Others wait: gives up at most `most` answers that are buffered and unread. Returns how many.
   */
  giveBackUnread(now: number, most: number): number
  /** Housekeeping, about once a second. */
  tick(now: number): void
  /** The peer owes an answer, and sends nothing at all. */
  readonly silent: boolean
  /** Calls wait, unsent, until its peer gives a sign of life or is found silent. */
  readonly hesitant: boolean
  /** Whether another connection would carry more than it alone. */
  readonly strained: boolean
}
