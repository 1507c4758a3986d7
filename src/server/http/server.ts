/**
 * The HTTP server door: any request handler behind mutual TLS, authorization, deadlines and limits,
 * with certificates that rotate under traffic and a drain that loses nothing. HTTP/1.1; connections
 * are in `acceptor.ts`, one request in `call.ts`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Timer } from '../../core/clock.ts'
import { outsideCalls } from '../../core/context.ts'
import { OptionsError } from '../../options/fields.ts'
import { Acceptor } from '../acceptor.ts'
import type { Connection } from '../connection.ts'
import type { Ending } from '../ending.ts'
import { type MuxHost, MuxProtocol } from '../mux/protocol.ts'
import { assertIdentity, ServerBase, type ServerBaseDependencies } from '../server-base.ts'
import type { Application, HttpHandler } from './application.ts'
import { type Expectation, HttpServerCall, type HttpServerCallHost } from './call.ts'
import type { HttpConnection } from './connection.ts'
import type { Exchange } from './exchange.ts'
import { applicationOf } from './handler.ts'
import { type HttpOverHttp2Host, httpOverHttp2 } from './http2/protocol.ts'
import { muxSettings } from './mux-settings.ts'
import { type HttpServerOptions, type HttpServerSettings, resolveHttpServer, type UpgradeListener } from './options.ts'
import { HttpProtocol, type HttpProtocolHost } from './protocol.ts'
import { serveCall } from './serve.ts'
import type { ServedStream } from './served-stream.ts'
import { serveUpgrade } from './upgrade.ts'

export type HttpServerDependencies = ServerBaseDependencies

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
  handler: HttpHandler | Application,
  options: HttpServerOptions,
  dependencies: HttpServerDependencies,
): Promise<HttpServer> {
  const settings = resolveHttpServer(options)
  assertIdentity(settings.mode, dependencies)
  const application = await applicationOf(handler)
  if (settings.onUpgrade !== undefined && application.events?.upgrades === true) {
    const message = "is not taken, because the server has its own listeners for 'upgrade'; use one of the two"
    throw new OptionsError('serve', [{ path: ['onUpgrade'], message }])
  }
  const server = new HttpServer(application, settings, dependencies)
  await server.listen()
  server.listening()
  return server
}

/** A listening server; made by {@link serveHttp}. */
export class HttpServer extends ServerBase implements HttpServerCallHost, HttpProtocolHost, MuxHost, HttpOverHttp2Host {
  readonly application: Application
  readonly maxHeaders: number
  protected readonly acceptor: Acceptor
  readonly #http: HttpProtocol
  readonly #requestTimeout: number
  readonly #onUpgrade: UpgradeListener | undefined
  /** For the protocol: whether the application listens for upgrades now. */
  readonly upgrades = (): boolean => this.#onUpgrade !== undefined || this.application.events?.upgrades === true

  constructor(application: Application, settings: HttpServerSettings, dependencies: HttpServerDependencies) {
    super(settings, dependencies)
    this.application = application
    this.maxHeaders = settings.maxHeaders
    this.#onUpgrade = settings.onUpgrade
    this.#http = new HttpProtocol(this, settings)
    this.#requestTimeout = settings.requestTimeout
    const protocols = [new MuxProtocol(this, muxSettings(settings)), this.#http, httpOverHttp2(this, settings)]
    this.acceptor = new Acceptor(this, settings, protocols, dependencies.identity, dependencies.verifier)
  }

  /** For the protocol. */
  serve(
    exchange: Exchange,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
    arrivedAt?: number,
  ): void {
    serveCall(this, exchange, request, response, expectation, arrivedAt)
  }

  /** For the protocol. */
  streamOpened(
    connection: Connection,
    stream: ServedStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
    problem?: string,
  ): void {
    this.#http.openExchange(connection, stream, method, path, headers, end, problem)
  }

  /** For the protocol: a request on a stream that has not arrived in time loses its stream. */
  swept(now: number): void {
    for (const call of this.running) {
      if (call instanceof HttpServerCall && call.startedAt + this.#requestTimeout <= now) call.overdue()
    }
  }

  /** For the protocol. */
  upgrade(connection: HttpConnection, request: IncomingMessage, head: Buffer): void {
    const upgrade = this.#onUpgrade ?? this.application.events?.upgrade
    if (upgrade === undefined) connection.socket.destroy()
    else serveUpgrade(this, connection, request, head, upgrade)
  }

  /** For the protocol. */
  connectionLost(connection: HttpConnection): void {
    if (connection.inFlight === 0) return
    for (const call of [...this.running]) if (call.connection === connection) call.finish()
  }

  /** For the one that makes it: the application hears that it is served. */
  listening(): void {
    this.#notify(() => this.application.events?.listening(this.acceptor.address), 'listening')
  }

  override inMesh(ending: Ending): void {
    this.application.events?.served(ending)
  }

  override stopAccepting(): void {
    super.stopAccepting()
    for (const call of this.running) if (call instanceof HttpServerCall) call.goAway()
  }

  override async closeConnections(): Promise<void> {
    await super.closeConnections()
    await this.#notify(() => this.application.events?.closed(), 'close')
  }

  /** What the application does then is bounded, and its failure is no failure of ours. */
  async #notify(work: () => unknown, event: string): Promise<void> {
    let timer: Timer | undefined
    const bound = new Promise<void>((resolve) => {
      timer = this.clock.startBackgroundTimer(CLOSE_HOOKS_MS, resolve, undefined)
    })
    try {
      await Promise.race([outsideCalls(work), bound])
    } catch (error) {
      this.handlerFailed(error, event)
    } finally {
      if (timer !== undefined) this.clock.stopTimer(timer)
    }
  }
}

/** How long the application's own end (Fastify's `onClose` hooks) may take. */
const CLOSE_HOOKS_MS = 5_000
