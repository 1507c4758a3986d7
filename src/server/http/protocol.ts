/**
 * HTTP/1.1 for the acceptor: a `node:http` server that never listens parses accepted connections.
 * Its limits are tighter than Node's defaults.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { HTTP1, type TransportName } from '../../core/transport.ts'
import type { AcceptorHost } from '../acceptor.ts'
import type { Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import { SOCKET_OPTIONS } from '../port.ts'
import type { ServerProtocol } from '../protocol.ts'
import { refuseHttp1 } from '../refuse-http1.ts'
import type { Stranger } from '../stranger.ts'
import type { Expectation } from './call.ts'
import { HttpConnection, httpConnectionOf } from './connection.ts'
import { type Exchange, exchangeOf } from './exchange.ts'
import { InboundMessage } from './headers.ts'
import type { HttpServerSettings } from './options.ts'
import { answerParseError, TIMEOUT_ANSWER } from './parse-error.ts'
import { TextResponse } from './response.ts'
import type { ServedStream } from './served-stream.ts'
import { openExchange } from './stream-exchange.ts'

export interface HttpProtocolHost extends AcceptorHost {
  /** `arrivedAt`: since when the request has waited for earlier ones on its connection. */
  serve(
    exchange: Exchange,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
    arrivedAt?: number,
  ): void
  upgrade(connection: HttpConnection, request: IncomingMessage, head: Buffer): void
  /** Whether the application listens for upgrades now. */
  upgrades(): boolean
  /** A connection has closed with requests in flight. */
  connectionLost(connection: HttpConnection): void
}

/** Interval at which Node looks for slow connections. */
const CHECK_INTERVAL_MS = 500

export class HttpProtocol implements ServerProtocol {
  readonly alpn: TransportName = HTTP1
  readonly withoutAlpn = true
  readonly preface = undefined
  readonly silence = TIMEOUT_ANSWER
  readonly allowHalfOpen = true
  /** From the start of the drain, each answer closes its connection. */
  retireAt = Number.POSITIVE_INFINITY
  readonly #host: HttpProtocolHost
  readonly #parser: Server

  constructor(host: HttpProtocolHost, settings: HttpServerSettings) {
    this.#host = host
    this.#parser = this.#createParser(settings)
  }

  createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): HttpConnection {
    return new HttpConnection(socket, caller, expiresAt, retireAt, this.#host.upgrades)
  }

  accept({ socket }: Connection): void {
    this.#parser.emit('connection', socket)
  }

  /** A request on a stream of `inmesh/1`. It takes the same way as one of HTTP/1.1 from here. */
  openExchange(
    connection: Connection,
    stream: ServedStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
    problem?: string,
  ): void {
    openExchange(this.#parser, this.#host.events, connection, stream, method, path, headers, end, problem)
  }

  connectionClosed(connection: Connection): void {
    // Node does not report pipelined requests that have not been answered yet.
    if (connection.inFlight > 0) process.nextTick(() => this.#host.connectionLost(connection as HttpConnection))
  }

  endConnection({ socket }: Connection): void {
    socket.end()
  }

  refusal(stranger: Stranger): RefusalAnswer {
    return refuseHttp1(stranger)
  }

  /** After an answer that is on its way, Node closes the connection. */
  dismiss(connection: Connection): void {
    ;(connection as HttpConnection).closing = true
    if (connection.inFlight === 0) connection.socket.destroySoon()
  }

  /** Starts Node's search for slow connections. */
  listening(): void {
    this.#parser.emit('listening')
  }

  retire(): void {
    this.retireAt = 0
  }

  stopAccepting(): void {}

  /**
   * Stops Node's search for slow connections; the callback takes the error that it never listened.
   */
  close(): void {
    this.#parser.close(() => {})
  }

  #createParser({ headersTimeout, requestTimeout, keepAliveTimeout }: HttpServerSettings): Server {
    const server = createServer({
      IncomingMessage: InboundMessage,
      // The typings expect a class generic over the request.
      ServerResponse: TextResponse as unknown as typeof ServerResponse<InboundMessage>,
      headersTimeout: Math.min(headersTimeout, requestTimeout),
      requestTimeout,
      keepAliveTimeout,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      // Our check also closes the connection, so that no request behind it is served.
      requireHostHeader: false,
      ...SOCKET_OPTIONS,
    })
    // Node drops headers over its limit silently; ours answers 431.
    server.maxHeadersCount = 0
    const on = (event: string, expectation: Expectation): void => {
      server.on(event, (request: IncomingMessage, response: ServerResponse) =>
        this.#request(request, response, expectation),
      )
    }
    on('request', 'none')
    on('checkContinue', 'checkContinue')
    on('checkExpectation', 'checkExpectation')
    server.on('clientError', answerParseError)
    // `InboundMessage` has already turned upgrades without a listener into ordinary requests.
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const connection = httpConnectionOf(socket)
      if (connection === undefined) socket.destroy()
      else this.#host.upgrade(connection, request, head)
    })
    return server
  }

  #request(request: IncomingMessage, response: ServerResponse, expectation: Expectation): void {
    const exchange = exchangeOf(request.socket)
    // Not accepted by us: its peer has not been verified.
    if (exchange === undefined) request.socket.destroy()
    else if (exchange instanceof HttpConnection) this.#inTurn(exchange, request, response, expectation)
    else this.#host.serve(exchange, request, response, expectation)
  }

  #inTurn(
    connection: HttpConnection,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
  ): void {
    if (connection.closing) return
    connection.last = response
    if (connection.busy) this.#enqueue(connection, request, response, expectation)
    else this.#host.serve(connection, request, response, expectation)
  }

  /** Separate, because V8 allocates the closure's context even in calls that never create it. */
  #enqueue(
    connection: HttpConnection,
    request: IncomingMessage,
    response: ServerResponse,
    expectation: Expectation,
  ): void {
    const host = this.#host
    const arrivedAt = host.clock.now()
    connection.enqueue(() => host.serve(connection, request, response, expectation, arrivedAt))
  }
}
