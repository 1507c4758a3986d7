/**
 * The HTTP/1.1 half of accepting: node:http and node:https on the connections that have been
 * judged, tighter than their defaults, and an answer for what their parser cannot read.
 */
import { createServer, type IncomingMessage, type Server as PlainServer, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as SecureHttpServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { Acceptor, type AcceptorHost, SOCKET_OPTIONS } from '../acceptor.ts'
import { type Connection, connectionOf } from '../connection.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { Expectation } from './call.ts'
import { InboundMessage } from './headers.ts'
import type { HttpServerSettings } from './options.ts'
import { ServedResponse } from './response.ts'

/** What the acceptor works with and for. */
export interface HttpAcceptorHost extends AcceptorHost {
  /** `cameAt`: it has waited for its turn since then. */
  serve(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
    cameAt?: number,
  ): void
  upgrade(connection: Connection, request: IncomingMessage, head: Buffer): void
  /** Whether the application listens for upgrades now. */
  upgrades(): boolean
  /** It has closed while requests of it were in progress. */
  connectionLost(connection: Connection): void
}

/** How often slow connections are looked for. */
const CHECK_INTERVAL_MS = 500

export class HttpAcceptor extends Acceptor<HttpAcceptorHost, HttpServerSettings> {
  #retired = false

  /** From now on every answer asks its client to leave. */
  retire(): void {
    this.#retired = true
    for (const connection of this.connections) connection.retire(0)
  }

  protected get alpn(): string {
    return 'http/1.1'
  }

  protected get newRetireAt(): number {
    return this.#retired ? 0 : Number.POSITIVE_INFINITY
  }

  protected createSecure(tls: object): SecureHttpServer {
    const server = createTlsServer({ ...tls, ...this.#httpOptions() })
    this.#attend(server)
    return server
  }

  protected createPlain(): PlainServer {
    const server = createServer(this.#httpOptions())
    this.#attend(server)
    return server
  }

  /** Sent before any request is read: it answers the first, which may be on its way. */
  protected farewell(reason: string): RefusalAnswer {
    const marker = `${NOT_EXECUTED}: ${identityRefusal(reason)}`
    return { last: `HTTP/1.1 403 Forbidden\r\nConnection: close\r\n${marker}\r\nContent-Length: 0\r\n\r\n` }
  }

  protected admitted(connection: Connection): void {
    connection.upgrades = this.host.upgrades
  }

  protected lost(connection: Connection): void {
    // Pipelined requests that had no turn to answer are told by nobody else.
    if (connection.inFlight > 0) process.nextTick(() => this.host.connectionLost(connection))
  }

  protected end({ socket }: Connection): void {
    socket.end()
  }

  #httpOptions() {
    const { headersTimeout, requestTimeout, keepAliveTimeout } = this.settings
    return {
      IncomingMessage: InboundMessage,
      // The typings want a class over requests of every kind.
      ServerResponse: ServedResponse as unknown as typeof ServerResponse<InboundMessage>,
      headersTimeout: Math.min(headersTimeout, requestTimeout),
      requestTimeout,
      keepAliveTimeout,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      // A request without Host is refused by us, so that nothing behind it is served.
      requireHostHeader: false,
      ...SOCKET_OPTIONS,
    }
  }

  #attend(server: PlainServer | SecureHttpServer): void {
    // Node would drop silently what exceeds its own limit; ours is answered.
    server.maxHeadersCount = 0
    const pass = (expectation: Expectation) => (request: IncomingMessage, response: ServerResponse) =>
      this.#pass(request, response, expectation)
    server.on('request', pass('none'))
    server.on('checkContinue', pass('checkContinue'))
    server.on('checkExpectation', pass('checkExpectation'))
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#answerGarbage(error, socket))
    // What is no upgrade for the application, the message itself has taken back (`InboundMessage`).
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const connection = connectionOf(socket)
      if (connection === undefined) socket.destroy()
      else this.host.upgrade(connection, request, head)
    })
  }

  #pass(request: IncomingMessage, response: ServerResponse, expectation: Expectation): void {
    const connection = connectionOf(request.socket)
    // A connection that was not judged.
    if (connection === undefined) request.socket.destroy()
    else if (!connection.closing) {
      connection.last = response
      if (connection.busy) this.#passInTurn(connection, request, response, expectation)
      else this.host.serve(connection, request, response, expectation)
    }
  }

  /**
   * By itself, because what a closure would hold is put on the heap even if the closure is never
   * made.
   */
  #passInTurn(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
  ): void {
    const { host } = this
    const cameAt = host.clock.now()
    connection.inTurn(() => host.serve(connection, request, response, expectation, cameAt))
  }

  /** What the parser could not read, or what did not come in time. */
  #answerGarbage(error: NodeJS.ErrnoException, socket: Duplex): void {
    // The parser reports each piece of garbage, also behind the end of its socket.
    if (socket.destroyed) return
    const connection = connectionOf(socket)
    // A broken handshake, which node:https reports here too.
    if (connection === undefined) return
    const { last } = connection
    if (error.code === LATE && connection.pipeline?.excuses() === true) return
    // What follows a request that was to be the last is passed over (RFC 9112, 9.6).
    if (error.code === AFTER_LAST && connection.busy) return
    if (connection.closing && connection.inFlight === 0) {
      // The last answer is on its way.
      if (!connection.socket.writableEnded) connection.socket.destroySoon()
      return
    }
    if (error.code === 'ECONNRESET' || !socket.writable || connection.inFlight > 0 || last?.destroyed === false) {
      socket.destroy()
      return
    }
    const status = GARBAGE_STATUS[error.code ?? ''] ?? '400 Bad Request'
    // A connection may have been opened in advance, and its first request be on its way just now.
    const late = error.code === LATE ? `${NOT_EXECUTED}: protocol-error\r\n` : ''
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${late}Content-Length: 0\r\n\r\n`, () => socket.destroy())
  }
}

const LATE = 'ERR_HTTP_REQUEST_TIMEOUT'
const AFTER_LAST = 'HPE_CLOSED_CONNECTION'
const GARBAGE_STATUS: Readonly<Record<string, string>> = Object.freeze({
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  [LATE]: '408 Request Timeout',
})
