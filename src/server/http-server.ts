/**
 * The HTTP server door: any request handler behind mutual TLS, authorization, deadlines and limits, with certificates that rotate
 * under traffic and a drain that loses nothing. HTTP/1.1; connections are in `http-acceptor.ts`, one request in `http-exchange.ts`.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Connection } from './connection.ts'
import { assertIdentity, Door, type DoorDependencies } from './door.ts'
import { HttpAcceptor, type HttpAcceptorHost } from './http-acceptor.ts'
import { admitUpgrade, type ExchangeHost, type HttpExchange, serveExchange } from './http-exchange.ts'
import { type HttpHandler, type HttpListener, listenerOf } from './http-handler.ts'
import {
  type HttpServerOptions,
  type HttpServerSettings,
  resolveHttpServer,
  type UpgradeListener,
} from './http-server-options.ts'

export type HttpServerDependencies = DoorDependencies

/**
 * Listens, and resolves with the running server.
 *
 * @throws OptionsError for wrong options; the system's error if it cannot listen
 * @example
 * ```ts
 * const server = await serveHttp(app, { port: 8080 }, { service, identity, authorizer, stack })
 * await server.drain()
 * ```
 */
export async function serveHttp(
  handler: HttpHandler,
  options: HttpServerOptions,
  dependencies: HttpServerDependencies,
): Promise<HttpServer> {
  const settings = resolveHttpServer(options)
  assertIdentity(settings.mode, dependencies)
  const listener = await listenerOf(handler)
  const server = new HttpServer(listener, settings, dependencies)
  await server.listen()
  return server
}

/** A listening server; made by {@link serveHttp}. */
export class HttpServer extends Door<HttpExchange> implements ExchangeHost, HttpAcceptorHost {
  readonly listener: HttpListener
  readonly maxHeaders: number
  protected readonly acceptor: HttpAcceptor
  readonly #onUpgrade: UpgradeListener | undefined

  constructor(listener: HttpListener, settings: HttpServerSettings, dependencies: HttpServerDependencies) {
    super(settings.faults, dependencies)
    this.listener = listener
    this.maxHeaders = settings.maxHeaders
    this.#onUpgrade = settings.onUpgrade
    this.acceptor = new HttpAcceptor(this, settings, dependencies.identity, dependencies.verifier)
  }

  // What an acceptor needs.

  /** For the acceptor and the drain. */
  serve(connection: Connection, request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    serveExchange(this, connection, request, response, expectsContinue)
  }

  /** For the acceptor and the drain. */
  upgrade(connection: Connection, request: IncomingMessage, head: Buffer): void {
    const { socket } = connection
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    response.shouldKeepAlive = false
    const exchange = admitUpgrade(this, connection, request, response)
    if (exchange === undefined) {
      socket.destroySoon()
      return
    }
    response.detachSocket(socket)
    exchange.runUpgrade(() => this.#onUpgrade!(request, socket, head))
  }

  /** For the acceptor and the drain. */
  connectionLost(connection: Connection): void {
    if (connection.inFlight === 0) return
    for (const exchange of [...this.running]) if (exchange.connection === connection) exchange.finish()
  }
}
