/** An HTTP/1.1 connection: the order of its requests, and whether it serves another one. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import { attachExchange, type Exchange, exchangeOf } from './exchange.ts'
import { Pipeline } from './pipeline.ts'

export class HttpConnection extends Connection implements Exchange {
  /** An answer closes the connection: no request after it is served (RFC 9112, 9.6). */
  closing = false
  /** The newest response that may still be on its way. */
  last: ServerResponse | undefined = undefined
  /** Created when the client first sends a request ahead of an answer. */
  pipeline: Pipeline | undefined = undefined
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
    attachExchange(socket, this)
  }

  get connection(): this {
    return this
  }

  get leaveAt(): number {
    return this.retireAt
  }

  close(): void {
    this.closing = true
  }

  cutOff(): void {
    this.socket.destroy()
  }

  answered(response: ServerResponse): void {
    if (this.last === response) this.last = undefined
    this.pipeline?.next()
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
  const exchange = exchangeOf(socket)
  return exchange instanceof HttpConnection ? exchange : undefined
}
