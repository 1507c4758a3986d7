/**
 * Holds new calls of the mux for one turn of the event loop. By then a flood has been reset, or its
 * connection destroyed, and no handler runs for it.
 */
import type { MuxStream } from '../../mux/stream.ts'
import type { MuxConnection } from '../mux/connection.ts'
import type { GrpcRequestHead } from './headers.ts'
import { readMuxHead } from './mux-headers.ts'
import { GrpcMuxStream } from './mux-stream.ts'

type Serve = (connection: MuxConnection, stream: GrpcMuxStream, head: GrpcRequestHead | string) => void

interface NewCall {
  readonly connection: MuxConnection
  readonly stream: GrpcMuxStream
  readonly method: string
  readonly path: string
  readonly headers: string[]
}

export class NewMuxCalls {
  readonly #serve: Serve
  #calls: NewCall[] = []

  constructor(serve: Serve) {
    this.#serve = serve
  }

  add(
    connection: MuxConnection,
    opened: MuxStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
  ): void {
    const stream = new GrpcMuxStream(opened, connection.session, end)
    if (this.#calls.push({ connection, stream, method, path, headers }) === 1) setImmediate(serveAll, this)
  }

  /** @internal */
  serveAll(): void {
    const calls = this.#calls
    this.#calls = []
    for (let i = 0; i < calls.length; i++) this.#begin(calls[i]!)
  }

  #begin({ connection, stream, method, path, headers }: NewCall): void {
    if (stream.closed) return
    // What one handler enters into an AsyncLocalStorage, the next does not find.
    connection.scope.run(() => this.#serve(connection, stream, readMuxHead(method, path, headers)))
  }
}

function serveAll(calls: NewMuxCalls): void {
  calls.serveAll()
}
