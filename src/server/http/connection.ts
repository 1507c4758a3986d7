/** An HTTP/1.1 connection: the order of its requests, and whether it serves another one. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Connection, connectionOf } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import { Pipeline } from './pipeline.ts'

export class HttpConnection extends Connection {
  /** An answer closes the connection: no request after it is served (RFC 9112, 9.6). */
  closing = false
  /** The newest response that may still be on its way. */
  last: ServerResponse | undefined = undefined
  /** Created when the client first sends a request ahead of an answer. */
  pipeline: Pipeline | undefined = undefined
  /** Whether the application listens for upgrades now. */
  readonly upgrades: () => boolean

  constructor(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
    upgrades: () => boolean,
  ) {
    super(socket, caller, expiresAt, retireAt)
    this.upgrades = upgrades
  }

  /** Whether a new request has to wait for earlier ones. */
  get busy(): boolean {
    return this.inFlight > 0 || this.pipeline?.empty === false
  }

  /** Serves a request after the answers to those before it. */
  enqueue(serve: () => void): void {
    this.pipeline ??= new Pipeline(this)
    this.pipeline.enqueue(serve)
  }
}

export function httpConnectionOf(socket: object): HttpConnection | undefined {
  const connection = connectionOf(socket)
  return connection instanceof HttpConnection ? connection : undefined
}
