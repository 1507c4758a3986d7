/**
 * Everything of an HTTP server below its requests: it listens, tells TLS from plaintext, judges each peer once, keeps the
 * connections, and moves them to a new certificate. What it hands on has been judged.
 */
import { createServer, type IncomingMessage, type Server as PlainServer, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as SecureServer } from 'node:https'
import { type AddressInfo, createServer as createNetServer, Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity, IdentitySource } from '../identity/identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { judgePeer, refusalOf, serverTlsOptions } from '../identity/tls-options.ts'
import type { EventSink } from '../telemetry/events.ts'
import { Connection, connectionOf } from './connection.ts'
import { splitByFirstByte } from './first-byte.ts'
import { WatchedResponse } from './http-response.ts'
import type { HttpServerSettings } from './http-server-options.ts'
import { InboundMessage } from './inbound.ts'

/** What the acceptor works with and for. */
export interface AcceptorHost {
  readonly clock: Clock
  readonly events: EventSink
  serve(connection: Connection, request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void
  upgrade(connection: Connection, request: IncomingMessage, head: Buffer): void
  /** It has closed while requests of it were in progress. */
  connectionLost(connection: Connection): void
}

/** How often slow connections are looked for. */
const CHECK_INTERVAL_MS = 500
/** Connections that do not end by themselves at the end of a drain are destroyed after so long. */
const CLOSE_MS = 500
/** A connection is asked to leave when so much of its caller's certificate is left, so that it never expires in use. */
const RETIRE_AT_SHARE_LEFT = 0.1

type InnerServer = PlainServer | SecureServer

export class HttpAcceptor {
  readonly #host: AcceptorHost
  readonly #settings: HttpServerSettings
  readonly #verifier: PeerVerifier | undefined
  readonly #listening: NetServer
  readonly #secure: SecureServer | undefined
  readonly #plain: PlainServer | undefined
  readonly #connections = new Set<Connection>()
  /** Everything accepted, also what is still shaking hands. */
  readonly #sockets = new Set<Socket>()
  readonly #stopRotation: (() => void) | undefined
  #retired = false
  accepted = 0
  plaintext = 0
  refused = 0

  /** Without an identity it speaks plaintext only. */
  constructor(
    host: AcceptorHost,
    settings: HttpServerSettings,
    identity: IdentitySource | undefined,
    verifier: PeerVerifier | undefined,
  ) {
    this.#host = host
    this.#settings = settings
    const { mode, maxConnections } = settings
    if (mode !== 'strict') this.#plain = this.#createPlain()
    if (mode !== 'plaintext' && identity !== undefined) {
      this.#verifier = verifier ?? new PeerVerifier(host.clock, identity.current)
      this.#secure = this.#createSecure(identity.current)
      this.#stopRotation = identity.onRotate((next) => this.#rotate(next))
    }
    this.#listening = mode === 'permissive' ? this.#createSplitter() : (this.#secure ?? this.#plain)!
    if (maxConnections !== undefined) this.#listening.maxConnections = maxConnections
    this.#listening.on('connection', (socket: Socket) => this.#track(socket))
    this.#listening.on('drop', () =>
      host.events.emit('admission:refused', { side: 'server', code: 'concurrency-limited' }),
    )
  }

  listen(): Promise<void> {
    const { host, port } = this.#settings
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        this.#stopRotation?.()
        reject(error)
      }
      this.#listening.once('error', failed)
      this.#listening.listen({ host, port }, () => {
        this.#listening.off('error', failed)
        // Accepting may fail later (too many open files); that must not end the process.
        this.#listening.on('error', () => {})
        resolve()
      })
    })
  }

  get address(): AddressInfo {
    const address = this.#listening.address()
    if (address === null || typeof address === 'string') {
      throw new MeshError('The server does not listen any more.', { code: 'closed' })
    }
    return address
  }

  get open(): number {
    return this.#sockets.size
  }

  /** From now on every answer asks its client to leave. */
  retire(): void {
    this.#retired = true
    for (const connection of this.#connections) connection.retire(0)
  }

  stopAccepting(): void {
    // Not that of node:http, which destroys idle connections at once, with requests on their way to them (node#60617).
    if (this.#listening.listening) NetServer.prototype.close.call(this.#listening)
  }

  /** Ends every connection after what has been answered has left. */
  async close(): Promise<void> {
    this.#stopRotation?.()
    for (const { socket } of this.#connections) socket.end()
    await new Promise<void>((resolve) => {
      const timer = this.#host.clock.startTimer(CLOSE_MS, resolve, undefined)
      const look = (): void => {
        if (this.#sockets.size > 0) return
        this.#host.clock.stopTimer(timer)
        resolve()
      }
      for (const socket of this.#sockets) socket.once('close', look)
      look()
    })
    for (const socket of this.#sockets) socket.destroy()
    for (const inner of [this.#secure, this.#plain]) {
      // Ends its housekeeping; it may not have been listening itself.
      inner?.close(() => {})
      inner?.closeAllConnections()
    }
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
      this.plaintext += 1
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
      (socket) => splitByFirstByte(socket, this.#host.clock, this.#settings.headersTimeout, tls, text),
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
      // The typings want a class over requests of every kind.
      ServerResponse: WatchedResponse as unknown as typeof ServerResponse<InboundMessage>,
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
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#pass(request, response, false))
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
      this.#pass(request, response, true),
    )
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#answerGarbage(error, socket))
    // Without a listener, node:http serves an upgrade as the ordinary request that it also is.
    if (this.#settings.onUpgrade === undefined) return
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const connection = connectionOf(socket)
      if (connection === undefined) socket.destroy()
      else this.#host.upgrade(connection, request, head)
    })
  }

  #pass(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = connectionOf(request.socket)
    // Nobody has judged a connection that we do not know.
    if (connection === undefined) request.socket.destroy()
    else this.#host.serve(connection, request, response, expectsContinue)
  }

  #track(socket: Socket): void {
    this.accepted += 1
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
    const now = this.#host.clock.now()
    const leftMs = Date.parse(socket.getPeerX509Certificate()!.validTo) - this.#host.clock.wallNow()
    const retireAt = Math.min(this.#retireAt(), now + leftMs * (1 - RETIRE_AT_SHARE_LEFT))
    this.#admitConnection(new Connection(socket, verdict, now + leftMs, retireAt))
  }

  #admitConnection(connection: Connection): void {
    this.#connections.add(connection)
    connection.socket.once('close', () => {
      this.#connections.delete(connection)
      // Pipelined requests that had no turn to answer are told by nobody else.
      if (connection.inFlight > 0) process.nextTick(() => this.#host.connectionLost(connection))
    })
  }

  #retireAt(): number {
    return this.#retired ? 0 : Number.POSITIVE_INFINITY
  }

  #refusePeer(reason: string, socket: TLSSocket): void {
    this.refused += 1
    const address = socket.remoteAddress
    this.#host.events.emit('peer:refused', { side: 'server', reason, ...(address !== undefined && { address }) })
  }

  /** New connections use the new certificate at once; the old ones are asked to leave one by one, with their next answers. */
  #rotate(next: Identity): void {
    this.#verifier!.setTrust(next)
    this.#secure!.setSecureContext(serverTlsOptions(next, { alpnProtocols: ['http/1.1'] }))
    const now = this.#host.clock.now()
    for (const connection of this.#connections) {
      if (connection.caller !== undefined)
        connection.retire(now + this.#host.clock.random() * this.#settings.rotationGrace)
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
