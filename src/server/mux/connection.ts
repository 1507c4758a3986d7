/** An `inmesh/1` connection of a server, with its session. */
import type { Socket } from 'node:net'
import { RequestScope } from '../../core/context.ts'
import type { MuxSession } from '../../mux/session.ts'
import { Connection, connectionOf } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'

export class MuxConnection extends Connection {
  /** Set when the protocol accepts the connection. */
  session!: MuxSession
  /** Each request begins in it, because one packet brings many. */
  readonly scope: RequestScope
  /** When a stream was last open, to within a sweep. */
  activeAt: number
  /** When it was asked to leave; `Infinity`: it was not. */
  leftAt = Number.POSITIVE_INFINITY

  constructor(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
    acceptedAt: number,
  ) {
    super(socket, caller, expiresAt, retireAt)
    this.scope = new RequestScope()
    this.activeAt = acceptedAt
  }
}

/** `carrier`: a socket, or what stands for one. */
export function muxConnectionOf(carrier: object): MuxConnection | undefined {
  const connection = connectionOf(carrier)
  return connection instanceof MuxConnection ? connection : undefined
}
