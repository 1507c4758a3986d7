/**
 * One accepted connection: the verified peer and the instant from which it is asked to leave. It is
 * stored on the socket, where a request finds it by one property read.
 */
import type { Socket } from 'node:net'
import type { TransportName } from '../core/transport.ts'
import type { CallerIdentity } from './inbound-call.ts'

const CONNECTION = Symbol('inmesh.connection')

interface Marked {
  [CONNECTION]?: Connection
}

export class Connection {
  readonly socket: Socket
  /** Of the peer; a closed socket knows it no longer. `undefined`: a Unix socket. */
  readonly address: string | undefined
  readonly caller: CallerIdentity | undefined
  /** When the caller's certificate expires, in wall-clock time; `Infinity` without one. */
  expiresAt: number
  /** Instant from which the client is asked to leave. */
  retireAt: number
  /** Its caller was denied since it was accepted. */
  denied = false
  /** What it carries. Set by the acceptor; `undefined` before. */
  transport: TransportName | undefined = undefined
  /** Requests in flight; at most one with HTTP/1.1. */
  inFlight = 0

  constructor(socket: Socket, caller: CallerIdentity | undefined, expiresAt: number, retireAt: number) {
    this.socket = socket
    this.address = socket.remoteAddress
    this.caller = caller
    this.expiresAt = expiresAt
    this.retireAt = retireAt
    attachConnection(socket, this)
  }

  /** Asks to leave no later than at `at`. */
  retire(at: number): void {
    if (at < this.retireAt) this.retireAt = at
  }
}

/** Stores `connection` on `carrier`: a socket, or an HTTP/2 session, whose socket is a proxy. */
export function attachConnection(carrier: object, connection: Connection): void {
  ;(carrier as Marked)[CONNECTION] = connection
}

export function connectionOf(carrier: object): Connection | undefined {
  return (carrier as Marked)[CONNECTION]
}
