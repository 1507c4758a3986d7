/**
 * Holds new streams for one turn of the event loop. By then a flood has been reset, or its session
 * destroyed, and no handler runs for it.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { type Http2Connection, http2ConnectionOf } from './connection.ts'

export interface NewStream {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  /** Names and values as received. */
  readonly raw: readonly string[]
}

type Serve = (connection: Http2Connection, stream: NewStream) => void

export class NewStreams {
  readonly #serve: Serve
  #streams: NewStream[] = []

  constructor(serve: Serve) {
    this.#serve = serve
  }

  add(stream: NewStream): void {
    // The session may fail before that turn, and an unhandled error would end the process.
    stream.stream.on('error', ignore)
    if (this.#streams.push(stream) === 1) setImmediate(serveAll, this)
  }

  /** @internal */
  serveAll(): void {
    const streams = this.#streams
    this.#streams = []
    for (let i = 0; i < streams.length; i++) this.#begin(streams[i]!)
  }

  #begin(one: NewStream): void {
    const { stream } = one
    if (stream.destroyed || stream.closed) return
    const { session } = stream
    const connection = session === undefined ? undefined : http2ConnectionOf(session)
    // Not accepted by us: its peer has not been verified.
    if (connection === undefined) stream.close()
    else if (!connection.flooded) this.#serve(connection, one)
  }
}

function serveAll(streams: NewStreams): void {
  streams.serveAll()
}

function ignore(): void {}
