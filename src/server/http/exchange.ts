/**
 * What carries a request and its answer: a connection of HTTP/1.1 for one after the other, or a
 * stream of a connection for one. It is found through the socket that request and response have.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Connection } from '../connection.ts'
import type { UserCodeOwner } from '../guarded-emitter.ts'

const EXCHANGE = Symbol('inmesh.exchange')

export interface Exchange {
  readonly connection: Connection
  /** Destroying it cuts the answer off. */
  readonly socket: Socket
  /** From this instant, answers ask the client to leave its connection. */
  readonly leaveAt: number
  /** Whether the application listens for upgrades now. */
  readonly upgrades: () => boolean
  /** Bytes of the request's body so far; `undefined`: its carrier does not count them. */
  readonly bodyBytes?: number | undefined
  /** Ends it at once, with what is still to be sent. Destroying its socket leaves that to go. */
  cutOff(): void
  /** The client can send no other request after this answer. */
  close(): void
  /** The listeners of its socket run for `owner` from now on. */
  serves?(owner: UserCodeOwner): void
  /** The request takes too long to arrive. Node watches connections of HTTP/1.1 itself. */
  overdue?(): void
  /** The answer is over. */
  answered(response: ServerResponse): void
}

export function attachExchange(socket: object, exchange: Exchange): void {
  ;(socket as { [EXCHANGE]?: Exchange })[EXCHANGE] = exchange
}

/** `undefined`: its peer has not been verified. */
export function exchangeOf(socket: object): Exchange | undefined {
  return (socket as { [EXCHANGE]?: Exchange })[EXCHANGE]
}
