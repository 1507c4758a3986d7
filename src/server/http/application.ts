/** The application behind an HTTP server: its request listener and the other events it handles. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Ending } from '../ending.ts'
import type { UpgradeListener } from './options.ts'

/** A `node:http` request listener; a promise that rejects is answered with 500. */
export type HttpListener = (request: IncomingMessage, response: ServerResponse) => unknown

/**
 * What can be served: a listener (an Express app is one, `getRequestListener(app.fetch)` of
 * `@hono/node-server` makes one), a Fastify instance, a `node:http` server that does not listen
 * itself, or an object with `handle(request, response)`.
 */
export type HttpHandler =
  | HttpListener
  | Server
  | { handle: HttpListener }
  | { ready(): PromiseLike<unknown>; routing: HttpListener }

/** Events besides requests that the application handles. */
export interface ApplicationEvents {
  /** Handles a request with `Expect`; returns `undefined` without a listener. */
  expect(event: 'checkContinue' | 'checkExpectation', request: IncomingMessage, response: ServerResponse): unknown
  /** Whether a listener for upgrades exists now. */
  readonly upgrades: boolean
  readonly upgrade: UpgradeListener
  /** `address`: where the mesh listens for it. */
  listening(address: AddressInfo): unknown
  /** The registry knows of it. */
  served(ending: Ending): void
  /** The server has closed. */
  closed(): unknown
}

export class Application {
  readonly listener: HttpListener
  /** `undefined`: the application handles requests only. */
  readonly events: ApplicationEvents | undefined

  constructor(listener: HttpListener, events?: ApplicationEvents) {
    this.listener = listener
    this.events = events
  }
}
