/**
 * The contract between an attempt and the connections of its endpoint. It leaves open what the
 * connections speak and how many calls each of them carries.
 */
import type { Dispatcher } from 'undici'
import type { ErrorCode } from '../../core/errors.ts'
import type { LoadReport } from '../../core/load-report.ts'
import type { TransportName } from '../../core/transport.ts'
import type { ConnectSpan } from '../connect-span.ts'
import type { EndpointPool } from '../transport.ts'

/** Receives the answer to a request. */
export interface AnswerHandler extends Dispatcher.DispatchHandler {
  /**
   * Others wait: gives up its answer if that is buffered and unread. Returns whether it did.
   */
  giveBackUnread?(now: number): boolean
  /** What the server reports with the head that follows. */
  loadArrived?(load: LoadReport): void
}

/** Waits for a connection, then sends one request on it. The pool keeps the links of its queue. */
export interface ConnectionUser {
  waitingIn: RequestPool | undefined
  ahead: ConnectionUser | undefined
  behind: ConnectionUser | undefined
  /** It may use the connection until it calls {@link RequestPool.release}. */
  assigned(connection: RequestConnection): void
  /** It gets none. Nothing was sent. */
  refused(code: ErrorCode, cause: unknown): void
  /** See {@link AnswerHandler}. */
  giveBackUnread?(now: number): boolean
}

/** A connection as its user sees it. */
export interface RequestConnection {
  readonly transport: TransportName
  readonly connecting: ConnectSpan
  /** Whether a request may be written on it. */
  readonly usable: boolean
  /** The peer broke the connection off rather than ending it. */
  readonly brokenOff: boolean
  /** Starts one request. The handler receives everything that follows. */
  dispatch(options: Dispatcher.DispatchOptions, handler: AnswerHandler): void
  /** Reports that the peer rejected our certificate. */
  refusedUs(cause: unknown): void
}

/** The pool of one endpoint as its users see it. */
export interface RequestPool extends EndpointPool {
  /** Connections to the same endpoint that carry upgrades. */
  readonly upgrades: RequestPool
  /** Gives `user` a connection, now or later, or refuses. */
  take(user: ConnectionUser): void
  /** A waiting user gives up. */
  leave(user: ConnectionUser): void
  /** The response is complete, or it failed and took the connection with it. */
  release(connection: RequestConnection): void
}

/**
 * undici's error for a connection that closed before the request was written. Nothing was sent, so
 * the user takes another connection.
 */
export const CONNECTION_LOST: Error = Object.freeze(
  Object.assign(new Error('the connection closed before use'), { code: 'GONE' }),
)
