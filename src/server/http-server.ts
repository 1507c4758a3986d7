/**
 * The HTTP server door: any request handler behind mutual TLS, authorization, deadlines and limits, with certificates that rotate
 * under traffic and a drain that loses nothing. HTTP/1.1; connections are in `http-acceptor.ts`, one request in `http-exchange.ts`.
 */
import { type IncomingMessage, ServerResponse } from 'node:http'
import { type Clock, systemClock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { IdentitySource } from '../identity/identity.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { Authorizer } from './authorization.ts'
import type { Connection } from './connection.ts'
import { DeadlineSweep } from './deadline-sweep.ts'
import { Drain, type Drainable, type DrainOptions, type DrainReport, type DrainState } from './drain.ts'
import { HttpAcceptor, type HttpAcceptorHost } from './http-acceptor.ts'
import { admitUpgrade, type ExchangeHost, type HttpExchange, serveExchange, type Within } from './http-exchange.ts'
import { type HttpHandler, type HttpListener, listenerOf } from './http-handler.ts'
import {
  type HttpServerOptions,
  type HttpServerSettings,
  resolveHttpServer,
  type UpgradeListener,
} from './http-server-options.ts'
import { Running } from './running.ts'

/** What a server needs from the mesh around it; plain values, so that a test needs no mesh. */
export interface HttpServerDependencies {
  readonly service: string
  /** Needed unless `plaintext`. */
  readonly identity?: IdentitySource | undefined
  /** Shared with the rest of the mesh; made from the identity if absent. */
  readonly verifier?: PeerVerifier | undefined
  readonly authorizer: Authorizer
  readonly stack: Stack
  readonly clock?: Clock | undefined
  readonly events?: EventSink | undefined
  /** Runs a handler inside the span of its call: `CallTelemetry.within`. */
  readonly within?: Within | undefined
  /** What a handler threw or rejected with. @defaultValue a process warning */
  readonly onHandlerError?: ((error: unknown, method: string, path: string) => void) | undefined
}

/** Counts since the start, and what is there now. */
export interface HttpServerStats {
  readonly connections: number
  readonly inFlight: number
  readonly accepted: number
  /** Of `accepted`: without TLS. In `permissive` mode, 0 means that `strict` would refuse nobody. */
  readonly plaintext: number
  /** By the peer's certificate, or a broken handshake. */
  readonly refused: number
}

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
  if (settings.mode !== 'plaintext' && dependencies.identity === undefined) {
    throw new MeshError(`A '${settings.mode}' server needs an identity, and this process has none.`, {
      code: 'not-in-mesh',
      service: dependencies.service,
    })
  }
  const listener = await listenerOf(handler)
  const server = new HttpServer(listener, settings, dependencies)
  await server.listen()
  return server
}

/** A listening server; made by {@link serveHttp}. */
export class HttpServer implements ExchangeHost, HttpAcceptorHost, Drainable {
  readonly service: string
  readonly clock: Clock
  readonly listener: HttpListener
  readonly maxHeaders: number
  readonly events: EventSink
  readonly within: Within | undefined
  readonly faults: readonly FaultRule[]
  readonly running = new Running<HttpExchange>()
  readonly deadlines: DeadlineSweep
  /** Replace it to change who may call; requests from then on are judged by it. */
  authorizer: Authorizer
  /** Replace it to change limits and the default timeout; requests in progress keep theirs. */
  stack: Stack

  readonly #acceptor: HttpAcceptor
  readonly #onUpgrade: UpgradeListener | undefined
  readonly #onHandlerError: HttpServerDependencies['onHandlerError']
  readonly #drain: Drain

  constructor(listener: HttpListener, settings: HttpServerSettings, dependencies: HttpServerDependencies) {
    this.service = dependencies.service
    this.clock = dependencies.clock ?? systemClock
    this.listener = listener
    this.maxHeaders = settings.maxHeaders
    this.events = dependencies.events ?? NO_EVENTS
    this.within = dependencies.within
    this.authorizer = dependencies.authorizer
    this.stack = dependencies.stack
    this.deadlines = new DeadlineSweep(this.clock, this.running)
    this.faults = settings.faults
    this.#onUpgrade = settings.onUpgrade
    this.#onHandlerError = dependencies.onHandlerError
    this.#drain = new Drain(this, this.clock)
    this.#acceptor = new HttpAcceptor(this, settings, dependencies.identity, dependencies.verifier)
  }

  /** For the acceptor and the drain. */
  listen(): Promise<void> {
    return this.#acceptor.listen()
  }

  /** Where it listens. */
  get address(): string {
    return this.#acceptor.address.address
  }

  get port(): number {
    return this.#acceptor.address.port
  }

  get state(): DrainState {
    return this.#drain.state
  }

  get stats(): HttpServerStats {
    return {
      connections: this.#acceptor.open,
      inFlight: this.running.size,
      accepted: this.#acceptor.accepted,
      plaintext: this.#acceptor.plaintext,
      refused: this.#acceptor.refused,
    }
  }

  /** Stops without losing a request; call it after the instance has been withdrawn from discovery. Never rejects. */
  drain(options?: DrainOptions): Promise<DrainReport> {
    return this.#drain.start(options)
  }

  /** Stops at once: cancels what runs. Also ends a drain that is under way. */
  close(): Promise<DrainReport> {
    this.#drain.hasten()
    return this.#drain.start({ lameDuckMs: 0, graceMs: 0 })
  }

  // What an exchange needs.

  handlerFailed(error: unknown, method: string, path: string): void {
    try {
      if (this.#onHandlerError !== undefined) this.#onHandlerError(error, method, path)
      else
        process.emitWarning(
          `The handler of ${method} ${path} failed: ${error instanceof Error ? error.stack : String(error)}`,
          'InmeshWarning',
        )
    } catch {
      // Whoever is told of a failure must not cause another.
    }
  }

  exchangeEnded(): void {
    this.#drain.callEnded()
  }

  // What a drain needs.

  get inFlight(): number {
    return this.running.size
  }

  retire(): void {
    this.events.emit('drain:step', { step: 'lame-duck', running: this.running.size })
    this.#acceptor.retire()
  }

  stopAccepting(): void {
    this.events.emit('drain:step', { step: 'finishing', running: this.running.size })
    this.#acceptor.stopAccepting()
  }

  cancelAll(): number {
    const left = [...this.running]
    for (const exchange of left) exchange.abandon()
    return left.length
  }

  async closeConnections(): Promise<void> {
    this.deadlines.stop()
    await this.#acceptor.close()
    this.events.emit('drain:step', { step: 'closed', running: 0 })
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
