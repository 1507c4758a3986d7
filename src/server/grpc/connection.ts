/** An HTTP/2 connection of gRPC calls, with the session that grpc-js opens on it. */
import { Connection, connectionOf } from '../connection.ts'
import type { GrpcSession } from './session.ts'

export class GrpcConnection extends Connection {
  session: GrpcSession | undefined = undefined

  /** The peer floods this connection, which closes at the end of this turn of the event loop. */
  get flooded(): boolean {
    return this.session?.flooded === true
  }
}

/** `carrier`: a socket or a session. */
export function grpcConnectionOf(carrier: object): GrpcConnection | undefined {
  const connection = connectionOf(carrier)
  return connection instanceof GrpcConnection ? connection : undefined
}
