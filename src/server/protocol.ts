/**
 * The contract between the acceptor and an application protocol. One acceptor serves several
 * protocols on one port; peers agree on one by ALPN.
 */
import type { Socket } from 'node:net'
import type { TransportName } from '../core/transport.ts'
import type { Connection } from './connection.ts'
import type { CallerIdentity } from './inbound-call.ts'
import type { RefusalAnswer } from './lingering-close.ts'
import type { Stranger } from './stranger.ts'

export interface ServerProtocol {
  /** Its transport, which is the protocol ID of ALPN. */
  readonly alpn: TransportName
  /** Whether a TLS client that offers no ALPN speaks this protocol. */
  readonly withoutAlpn: boolean
  /** With what its plaintext connections begin; `undefined`: with anything else. */
  readonly preface: Uint8Array | undefined
  /** The answer to a plaintext client that sends nothing in time. @defaultValue none */
  readonly silence?: string
  /** Whether a plaintext client may half-close its connection and still read the answer. */
  readonly allowHalfOpen: boolean
  /** The instant from which a new connection is asked to leave. */
  readonly retireAt: number
  createConnection(socket: Socket, caller: CallerIdentity | undefined, expiresAt: number, retireAt: number): Connection
  /** Takes over a connection whose peer has been verified. */
  accept(connection: Connection): void
  connectionClosed(connection: Connection): void
  /** Closes a connection after all answers have been sent. */
  endConnection(connection: Connection): void
  /** The answer to a peer that is not let in: none of its requests is executed. */
  refusal(stranger: Stranger): RefusalAnswer
  /** The peer of an accepted connection is refused from now on. Its calls have been answered. */
  dismiss(connection: Connection, reason: string): void
  /** The acceptor listens. */
  listening(): void
  /** Asks all clients to leave. */
  retire(): void
  stopAccepting(): void
  close(): void
}
