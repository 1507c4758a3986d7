/**
 * HTTP/2 for the acceptor: each accepted connection becomes a session of the application's grpc-js
 * server. One timer sweeps all sessions.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Timer } from '../../core/clock.ts'
import type { AcceptorHost } from '../acceptor.ts'
import { attachConnection, type Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { ServerProtocol } from '../protocol.ts'
import { GrpcConnection, grpcConnectionOf } from './connection.ts'
import type { GrpcServerSettings } from './options.ts'
import { refuseConnection } from './refusal.ts'
import { GrpcSession } from './session.ts'

export interface GrpcProtocolHost extends AcceptorHost {
  /** Hands a connection to grpc-js. */
  inject(socket: Socket): void
}

const SWEEP_MS = 500

export class GrpcProtocol implements ServerProtocol {
  readonly alpn = 'h2'
  /** RFC 9113, 3.2 requires ALPN. */
  readonly withoutAlpn = false
  readonly allowHalfOpen = false
  /** A client may connect during the drain, before it has heard of it. */
  readonly retireAt = Number.POSITIVE_INFINITY
  readonly #host: GrpcProtocolHost
  readonly #settings: GrpcServerSettings
  readonly #sessions = new Map<Connection, GrpcSession>()
  #sweeper: Timer | undefined

  /** `server`: the one inside grpc-js, which opens a session on each injected connection. */
  constructor(host: GrpcProtocolHost, settings: GrpcServerSettings, server: Http2Server) {
    this.#host = host
    this.#settings = settings
    server.on('session', (session: ServerHttp2Session) => this.#open(session))
    server.on('sessionError', () => {})
  }

  createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): GrpcConnection {
    return new GrpcConnection(socket, caller, expiresAt, retireAt)
  }

  accept({ socket }: Connection): void {
    if (!socket.destroyed) this.#host.inject(socket)
  }

  connectionClosed(connection: Connection): void {
    this.#sessions.delete(connection)
  }

  endConnection(connection: Connection): void {
    const session = this.#sessions.get(connection)
    if (session === undefined) connection.socket.destroy()
    else session.end()
  }

  refusal(reason: string): RefusalAnswer {
    return refuseConnection(reason)
  }

  dismiss(connection: Connection, reason: string): void {
    const session = this.#sessions.get(connection)
    if (session === undefined) connection.socket.destroy()
    else session.dismiss(reason)
  }

  listening(): void {}

  retire(): void {
    this.#sweep()
  }

  stopAccepting(): void {
    const now = this.#host.clock.now()
    for (const session of this.#sessions.values()) session.leave(now)
  }

  close(): void {
    if (this.#sweeper !== undefined) this.#host.clock.stopTimer(this.#sweeper)
    this.#sweeper = undefined
  }

  #open(session: ServerHttp2Session): void {
    const connection = grpcConnectionOf(session.socket)
    if (connection === undefined) {
      session.destroy()
      return
    }
    attachConnection(session, connection)
    connection.session = new GrpcSession(session, connection, this.#host, this.#settings)
    this.#sessions.set(connection, connection.session)
    this.#sweepLater()
  }

  #sweep(): void {
    const now = this.#host.clock.now()
    for (const session of this.#sessions.values()) session.sweep(now)
  }

  #sweepLater(): void {
    this.#sweeper ??= this.#host.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  /** @internal */
  sweepDue(): void {
    this.#sweeper = undefined
    this.#sweep()
    if (this.#sessions.size > 0) this.#sweepLater()
  }
}

function sweep(protocol: GrpcProtocol): void {
  protocol.sweepDue()
}
