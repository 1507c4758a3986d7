/**
 * The HTTP server door: any request handler behind mutual TLS, authorization, deadlines and limits, with certificates that rotate
 * under traffic and a drain that loses nothing. HTTP/1.1; what happens to one request is in `http-exchange.ts`.
 */
import { createServer, type IncomingMessage, type Server as PlainServer, ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as SecureServer } from 'node:https'
import { type AddressInfo, createServer as createNetServer, Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import { systemClock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity, IdentitySource } from '../identity/identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { judgePeer, refusalOf, serverTlsOptions } from '../identity/tls-options.ts'
import type { Stack } from '../resilience/stack.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { Authorizer } from './authorization.ts'
import { Connection, connectionOf } from './connection.ts'
import { Drain, type Drainable, type DrainOptions, type DrainReport, type DrainState } from './drain.ts'
import { splitByFirstByte } from './first-byte.ts'
import { admitUpgrade, type ExchangeHost, type HttpExchange, serveExchange, type Within } from './http-exchange.ts'
import { type HttpHandler, type HttpListener, listenerOf } from './http-handler.ts'
import { type HttpServerOptions, type HttpServerSettings, resolveHttpServer } from './http-server-options.ts'
import { InboundMessage } from './inbound.ts'

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

/** How often slow connections are looked for. */
const CHECK_INTERVAL_MS = 500
/** Connections that do not end by themselves at the end of a drain are destroyed after so long. */
const CLOSE_MS = 500
/** A connection is asked to leave when so much of its caller's certificate is left, so that it never expires in use. */
const RETIRE_AT_SHARE_LEFT = 0.1

type InnerServer = PlainServer | SecureServer

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
export class HttpServer implements ExchangeHost, Drainable {
  readonly service: string
  readonly clock: Clock
  readonly listener: HttpListener
  readonly maxHeaders: number
  readonly events: EventSink
  readonly within: Within | undefined
  readonly running = new Set<HttpExchange>()
  /** Replace it to change who may call; requests from then on are judged by it. */
  authorizer: Authorizer
  /** Replace it to change limits and the default timeout; requests in progress keep theirs. */
  stack: Stack

  readonly #settings: HttpServerSettings
  readonly #verifier: PeerVerifier | undefined
  readonly #onHandlerError: HttpServerDependencies['onHandlerError']
  readonly #listening: NetServer
  readonly #secure: SecureServer | undefined
  readonly #plain: PlainServer | undefined
  readonly #connections = new Set<Connection>()
  /** Everything accepted, also what is still shaking hands. */
  readonly #sockets = new Set<Socket>()
  readonly #drain: Drain
  readonly #stopRotation: (() => void) | undefined
  #accepted = 0
  #plaintext = 0
  #refused = 0

  constructor(listener: HttpListener, settings: HttpServerSettings, dependencies: HttpServerDependencies) {
    this.service = dependencies.service
    this.clock = dependencies.clock ?? systemClock
    this.listener = listener
    this.maxHeaders = settings.maxHeaders
    this.events = dependencies.events ?? NO_EVENTS
    this.within = dependencies.within
    this.authorizer = dependencies.authorizer
    this.stack = dependencies.stack
    this.#settings = settings
    this.#onHandlerError = dependencies.onHandlerError
    this.#drain = new Drain(this, this.clock)

    const { mode } = settings
    const identity = mode === 'plaintext' ? undefined : dependencies.identity
    if (identity !== undefined) {
      this.#verifier = dependencies.verifier ?? new PeerVerifier(this.clock, identity.current)
      this.#secure = this.#createSecure(identity.current)
      this.#stopRotation = identity.onRotate((next) => this.#rotate(next))
    }
    if (mode !== 'strict') this.#plain = this.#createPlain()
    this.#listening = mode === 'permissive' ? this.#createSplitter() : (this.#secure ?? this.#plain)!
    if (settings.maxConnections !== undefined) this.#listening.maxConnections = settings.maxConnections
    this.#listening.on('connection', (socket: Socket) => this.#track(socket))
    this.#listening.on('drop', () =>
      this.events.emit('admission:refused', { side: 'server', code: 'concurrency-limited' }),
    )
  }

  /** @internal */
  listen(): Promise<void> {
    const { host, port } = this.#settings
    return new Promise((resolve, reject) => {
      this.#listening.once('error', reject)
      this.#listening.listen({ host, port }, () => {
        this.#listening.off('error', reject)
        // Accepting may fail later (too many open files); that must not end the process.
        this.#listening.on('error', () => {})
        resolve()
      })
    })
  }

  /** Where it listens. */
  get address(): string {
    return this.#address().address
  }

  get port(): number {
    return this.#address().port
  }

  get state(): DrainState {
    return this.#drain.state
  }

  get stats(): HttpServerStats {
    return {
      connections: this.#sockets.size,
      inFlight: this.running.size,
      accepted: this.#accepted,
      plaintext: this.#plaintext,
      refused: this.#refused,
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
    for (const connection of this.#connections) connection.retire(0)
  }

  stopAccepting(): void {
    this.events.emit('drain:step', { step: 'finishing', running: this.running.size })
    // Not that of node:http, which destroys idle connections at once, with requests on their way to them (node#60617).
    if (this.#listening.listening) NetServer.prototype.close.call(this.#listening)
  }

  cancelAll(): number {
    const left = [...this.running]
    for (const exchange of left) exchange.abandon()
    return left.length
  }

  async closeConnections(): Promise<void> {
    this.#stopRotation?.()
    // What has just been answered still has to leave; then each connection ends from our side.
    for (const { socket } of this.#connections) socket.end()
    const quiet = new Promise<void>((resolve) => {
      const timer = this.clock.startTimer(CLOSE_MS, resolve, undefined)
      const look = (): void => {
        if (this.#sockets.size > 0) return
        this.clock.stopTimer(timer)
        resolve()
      }
      for (const socket of this.#sockets) socket.once('close', look)
      look()
    })
    await quiet
    for (const socket of this.#sockets) socket.destroy()
    for (const inner of [this.#secure, this.#plain]) {
      // Ends its housekeeping; it may not have been listening itself.
      inner?.close(() => {})
      inner?.closeAllConnections()
    }
    this.events.emit('drain:step', { step: 'closed', running: 0 })
  }

  #address(): AddressInfo {
    const address = this.#listening.address()
    if (address === null || typeof address === 'string') {
      throw new MeshError('The server does not listen any more.', { code: 'closed', service: this.service })
    }
    return address
  }

  #createSecure(identity: Identity): SecureServer {
    const tls = serverTlsOptions(identity, { alpnProtocols: ['http/1.1'] })
    const server = createTlsServer({ ...tls, ...this.#httpOptions() })
    // Before node:http hears of it, so that not one byte of a refused peer is parsed.
    server.prependListener('secureConnection', (socket: TLSSocket) => this.#judge(socket))
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#refusePeer(refusalOf(error, socket)?.reason ?? 'handshake-failed', socket)
      socket.destroy()
    })
    this.#attend(server)
    return server
  }

  #createPlain(): PlainServer {
    const server = createServer(this.#httpOptions())
    server.prependListener('connection', (socket: Socket) => {
      this.#plaintext += 1
      this.#admitConnection(new Connection(socket, undefined, Number.POSITIVE_INFINITY, this.#retireAt()))
    })
    this.#attend(server)
    return server
  }

  #createSplitter(): NetServer {
    const secure = this.#secure!
    const plain = this.#plain!
    const tls = (socket: Socket): boolean => secure.emit('connection', socket)
    const text = (socket: Socket): boolean => plain.emit('connection', socket)
    const server = createNetServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: false },
      (socket) => splitByFirstByte(socket, this.clock, this.#settings.headersTimeout, tls, text),
    )
    // They watch for slow connections from when they hear this on, and they never listen themselves.
    server.on('listening', () => {
      secure.emit('listening')
      plain.emit('listening')
    })
    return server
  }

  #httpOptions() {
    const { headersTimeout, requestTimeout, keepAliveTimeout } = this.#settings
    return {
      IncomingMessage: InboundMessage,
      headersTimeout: Math.min(headersTimeout, requestTimeout),
      requestTimeout,
      keepAliveTimeout,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      noDelay: true,
      keepAlive: true,
    }
  }

  #attend(server: InnerServer): void {
    // Node would drop silently what exceeds its own limit; ours is answered.
    server.maxHeadersCount = 0
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response, false))
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#serve(request, response, true),
    )
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#answerGarbage(error, socket))
    const { onUpgrade } = this.#settings
    if (onUpgrade === undefined) return
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const connection = connectionOf(socket)
      if (connection === undefined) return void socket.destroy()
      const response = new ServerResponse(request)
      response.assignSocket(socket as Socket)
      response.shouldKeepAlive = false
      const exchange = admitUpgrade(this, connection, request, response)
      if (exchange === undefined) return void (socket as Socket).destroySoon()
      response.detachSocket(socket as Socket)
      exchange.runUpgrade(() => onUpgrade(request, socket, head))
    })
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = connectionOf(request.socket)
    if (connection === undefined) {
      // Nobody has judged this connection.
      request.socket.destroy()
      return
    }
    serveExchange(this, connection, request, response, expectsContinue)
  }

  #track(socket: Socket): void {
    this.#accepted += 1
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #judge(socket: TLSSocket): void {
    const verdict = judgePeer(socket, this.#verifier!)
    if (!verdict.ok) {
      this.#refusePeer(verdict.reason, socket)
      socket.destroy()
      return
    }
    const now = this.clock.now()
    const leftMs = Date.parse(socket.getPeerX509Certificate()!.validTo) - this.clock.wallNow()
    const retireAt = Math.min(this.#retireAt(), now + leftMs * (1 - RETIRE_AT_SHARE_LEFT))
    this.#admitConnection(new Connection(socket, verdict, now + leftMs, retireAt))
  }

  #admitConnection(connection: Connection): void {
    this.#connections.add(connection)
    connection.socket.once('close', () => {
      this.#connections.delete(connection)
      // Pipelined requests that had no turn to answer are told by nobody else.
      if (connection.inFlight > 0) process.nextTick(() => this.#endAll(connection))
    })
  }

  #endAll(connection: Connection): void {
    if (connection.inFlight === 0) return
    for (const exchange of [...this.running]) if (exchange.connection === connection) exchange.finish()
  }

  #retireAt(): number {
    return this.#drain.state === 'serving' ? Number.POSITIVE_INFINITY : 0
  }

  #refusePeer(reason: string, socket: TLSSocket): void {
    this.#refused += 1
    const address = socket.remoteAddress
    this.events.emit('peer:refused', { side: 'server', reason, ...(address !== undefined && { address }) })
  }

  /** New connections use the new certificate at once; the old ones are asked to leave one by one, with their next answers. */
  #rotate(next: Identity): void {
    this.#verifier!.setTrust(next)
    this.#secure!.setSecureContext(serverTlsOptions(next, { alpnProtocols: ['http/1.1'] }))
    const now = this.clock.now()
    for (const connection of this.#connections) {
      if (connection.caller !== undefined) connection.retire(now + this.clock.random() * this.#settings.rotationGrace)
    }
  }

  /** What the parser could not read, or what did not come in time. */
  #answerGarbage(error: NodeJS.ErrnoException, socket: Duplex): void {
    const connection = connectionOf(socket)
    // A broken handshake, which node:https reports here too.
    if (connection === undefined) return
    if (error.code === 'ECONNRESET' || !socket.writable || connection.inFlight > 0) {
      socket.destroy()
      return
    }
    const status = GARBAGE_STATUS[error.code ?? ''] ?? '400 Bad Request'
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
  }
}

const GARBAGE_STATUS: Readonly<Record<string, string>> = Object.freeze({
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
})
