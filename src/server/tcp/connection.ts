/** An accepted TCP connection. */
import type { Socket } from 'node:net'
import { TCP_ALPN } from '../../net/tcp-greeting.ts'
import { Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'

export class TcpConnection extends Connection {
  /** Whether its caller waits for a greeting. */
  readonly greets: boolean

  constructor(socket: Socket, caller: CallerIdentity | undefined, expiresAt: number, retireAt: number) {
    super(socket, caller, expiresAt, retireAt)
    this.greets = (socket as { readonly alpnProtocol?: unknown }).alpnProtocol === TCP_ALPN
  }
}
