/** TCP for the acceptor: a connection is one call, from its admission to its end. */
import type { Socket } from 'node:net'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { refusal, TCP_ALPN } from '../../net/tcp-greeting.ts'
import type { Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { ServerProtocol } from '../protocol.ts'
import type { Stranger } from '../stranger.ts'
import { TcpConnection } from './connection.ts'

export interface TcpProtocolHost {
  serve(connection: TcpConnection): void
}

export class TcpProtocol implements ServerProtocol {
  readonly alpn = TCP_ALPN
  /** Other programs with a certificate of the mesh get the bare stream. */
  readonly withoutAlpn = true
  readonly preface = undefined
  readonly allowHalfOpen = true
  readonly retireAt = Number.POSITIVE_INFINITY
  readonly #host: TcpProtocolHost

  constructor(host: TcpProtocolHost) {
    this.#host = host
  }

  createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): TcpConnection {
    return new TcpConnection(socket, caller, expiresAt, retireAt)
  }

  accept(connection: Connection): void {
    this.#host.serve(connection as TcpConnection)
  }

  /** Its call watches the socket itself. */
  connectionClosed(): void {}

  endConnection({ socket }: Connection): void {
    socket.destroySoon()
  }

  /** Only a client of the mesh reads it. What others speak is not known here. */
  refusal({ reason, named }: Stranger): RefusalAnswer {
    return { last: named ? refusal(identityRefusal(reason)) : '' }
  }

  /** Its call has ended it. */
  dismiss(): void {}

  listening(): void {}

  /** A stream cannot be asked to leave: clients learn of the drain from the registry. */
  retire(): void {}

  stopAccepting(): void {}

  close(): void {}
}
