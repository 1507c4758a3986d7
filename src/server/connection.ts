/**
 * What a server keeps about one connection: who is on the other side, judged once, and from when on
 * answers ask to leave. It hangs on the socket itself, where a request finds it for the price of
 * one property.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Pipeline } from './http/pipeline.ts'
import type { CallerIdentity } from './inbound-call.ts'

const CONNECTION = Symbol('inmesh.connection')

interface Marked {
  [CONNECTION]?: Connection
}

export class Connection {
  readonly socket: Socket
  readonly caller: CallerIdentity | undefined
  /** When the caller's certificate ends, by the wall clock; `Infinity` without one. */
  readonly expiresAt: number
  /** Instant from which on answers carry `connection: close`. */
  retireAt: number
  /** HTTP/2: who watches for floods. */
  guard: { readonly flooded: boolean } | undefined = undefined
  /** Requests in progress; HTTP/1.1 has one at most. */
  inFlight = 0
  /** An answer said that it is the last: nothing that follows is served (RFC 9112, 9.6). */
  closing = false
  /** HTTP/1.1: the newest response that may still be on its way. */
  last: ServerResponse | undefined = undefined
  /** HTTP/1.1: whether the application listens for upgrades now. */
  upgrades: (() => boolean) | undefined = undefined
  /** HTTP/1.1: made when the client first sends a request ahead of an answer. */
  pipeline: Pipeline | undefined = undefined

  constructor(socket: Socket, caller: CallerIdentity | undefined, expiresAt: number, retireAt: number) {
    this.socket = socket
    this.caller = caller
    this.expiresAt = expiresAt
    this.retireAt = retireAt
    ;(socket as Marked)[CONNECTION] = this
  }

  /** It floods us, and will be cut when this turn of the loop is over. */
  get flooded(): boolean {
    return this.guard?.flooded === true
  }

  /** HTTP/1.1: serves a request, after the answers to those before it. */
  inTurn(serve: () => void): void {
    this.pipeline ??= new Pipeline(this)
    this.pipeline.wait(serve)
  }

  /** Whether a request would have to wait for the answers to others. */
  get busy(): boolean {
    return this.inFlight > 0 || this.pipeline?.empty === false
  }

  /** Asks to leave no later than at `at`. */
  retire(at: number): void {
    if (at < this.retireAt) this.retireAt = at
  }
}

/**
 * `carrier` belongs to the connection and will be asked for it: an HTTP/2 session, whose socket is
 * behind a proxy.
 */
export function mark(carrier: object, connection: Connection): void {
  ;(carrier as Marked)[CONNECTION] = connection
}

export function connectionOf(socket: object): Connection | undefined {
  return (socket as Marked)[CONNECTION]
}
