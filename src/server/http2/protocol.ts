/**
 * HTTP/2 for the acceptor: each accepted connection becomes a session of a server that never
 * listens. One timer sweeps all sessions.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { Sweeper, type Swept } from '../../core/sweeper.ts'
import { HTTP2, type TransportName } from '../../core/transport.ts'
import type { AcceptorHost } from '../acceptor.ts'
import { attachConnection, type Connection } from '../connection.ts'
import type { CallerIdentity } from '../inbound-call.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { ServerProtocol } from '../protocol.ts'
import type { Stranger } from '../stranger.ts'
import { Http2Connection, http2ConnectionOf } from './connection.ts'
import { PREFACE } from './refusal.ts'
import { ServedSession, type SessionSettings } from './session.ts'

export interface Http2ProtocolHost extends AcceptorHost {
  /** Hands a connection to the server, which opens a session on it. */
  inject(socket: Socket): void
  /** What a refused peer gets. */
  refusal(stranger: Stranger): RefusalAnswer
  /** Twice a second. */
  swept?(now: number): void
}

const SWEEP_MS = 500

export class Http2Protocol implements ServerProtocol, Swept {
  readonly alpn: TransportName = HTTP2
  /** RFC 9113, 3.2 requires ALPN. */
  readonly withoutAlpn = false
  readonly preface = PREFACE
  readonly allowHalfOpen = false
  /** A client may connect during the drain, before it has heard of it. */
  readonly retireAt = Number.POSITIVE_INFINITY
  readonly #host: Http2ProtocolHost
  readonly #settings: SessionSettings
  readonly #sessions = new Map<Connection, ServedSession>()
  readonly #sweeper: Sweeper

  /** `server`: opens a session on each injected connection. */
  constructor(host: Http2ProtocolHost, settings: SessionSettings, server: Http2Server) {
    this.#host = host
    this.#settings = settings
    this.#sweeper = new Sweeper(host.clock, SWEEP_MS, this)
    server.on('session', (session: ServerHttp2Session) => this.#open(session))
    server.on('sessionError', () => {})
  }

  createConnection(
    socket: Socket,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): Http2Connection {
    return new Http2Connection(socket, caller, expiresAt, retireAt)
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

  refusal(stranger: Stranger): RefusalAnswer {
    return this.#host.refusal(stranger)
  }

  dismiss(connection: Connection, reason: string): void {
    const session = this.#sessions.get(connection)
    if (session === undefined) connection.socket.destroy()
    else session.dismiss(reason)
  }

  listening(): void {}

  retire(): void {
    this.sweep(this.#host.clock.now())
  }

  stopAccepting(): void {
    const now = this.#host.clock.now()
    for (const session of this.#sessions.values()) session.leave(now)
  }

  close(): void {
    this.#sweeper.stop()
  }

  #open(session: ServerHttp2Session): void {
    const connection = http2ConnectionOf(session.socket)
    if (connection === undefined) {
      session.destroy()
      return
    }
    attachConnection(session, connection)
    connection.session = new ServedSession(session, connection, this.#host, this.#settings)
    this.#sessions.set(connection, connection.session)
    this.#sweeper.start()
  }

  /** @internal */
  sweep(now: number): boolean {
    for (const session of this.#sessions.values()) session.sweep(now)
    this.#host.swept?.(now)
    return this.#sessions.size > 0
  }
}
