/** An HTTP/2 connection, with the session on it. */
import { Connection, connectionOf } from '../connection.ts'
import type { ServedSession } from './session.ts'

export class Http2Connection extends Connection {
  session: ServedSession | undefined = undefined

  /** The peer floods this connection, which closes at the end of this turn of the event loop. */
  get flooded(): boolean {
    return this.session?.flooded === true
  }
}

/** `carrier`: a socket or a session. */
export function http2ConnectionOf(carrier: object): Http2Connection | undefined {
  const connection = connectionOf(carrier)
  return connection instanceof Http2Connection ? connection : undefined
}
