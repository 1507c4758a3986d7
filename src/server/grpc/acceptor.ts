/**
 * The HTTP/2 half of accepting: connections that have been judged become sessions of the
 * application's grpc-js server. A session is asked to leave by GOAWAY and then has time for its
 * streams; one that has gone silent is asked for a sign of life.
 *
 * serving -> leaving: its time has come (GOAWAY with the last stream that came; what comes later is
 * not served, and its client knows) leaving -> closed: its streams have ended, or their grace is
 * over
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import type { Timer } from '../../core/clock.ts'
import { type FloodGuard, guardSession, LENIENT_LIMITS } from '../../net/http2-flood-guard.ts'
import { Acceptor, type AcceptorHost, SOCKET_OPTIONS } from '../acceptor.ts'
import { type Connection, connectionOf, mark } from '../connection.ts'
import type { RefusalAnswer } from '../lingering-close.ts'
import type { GrpcServerSettings } from './options.ts'
import { refuseConnection } from './refusal.ts'

export interface GrpcAcceptorHost extends AcceptorHost {
  /** Speaks HTTP/2 on a connection. */
  inject(socket: Socket): void
}

/** How often sessions are looked at, while there are any. */
const SWEEP_MS = 500

interface Session {
  readonly session: ServerHttp2Session
  readonly guard: FloodGuard
  /** `Infinity`: it is not. */
  leavingSince: number
  /** What the guard had heard when something last came whole, and when that was. */
  heard: number
  heardAt: number
  /**
   * Bytes that had come when it last answered a PING: what came since may end in a head that never
   * does.
   */
  bytes: number
  /** When it was asked for a sign of life, an acknowledged PING; `Infinity`: it was not. */
  askedAt: number
  /** When it is destroyed, unless it has said its first word by then, which is its SETTINGS. */
  cutAt: number
}

export class GrpcAcceptor extends Acceptor<GrpcAcceptorHost, GrpcServerSettings> {
  readonly #sessions = new Map<Connection, Session>()
  #sweeper: Timer | undefined

  /** grpc-js's own server, whose sessions are ours. */
  attend(server: Http2Server): void {
    server.on('session', (session: ServerHttp2Session) => this.#begin(session))
    server.on('sessionError', () => {})
  }

  /**
   * All sessions are asked to leave now; new ones may still come, from whoever has not heard yet.
   */
  retire(): void {
    for (const connection of this.#sessions.keys()) connection.retire(0)
    this.sweep()
  }

  override stopAccepting(): void {
    super.stopAccepting()
    const now = this.host.clock.now()
    for (const each of this.#sessions.values()) this.#leave(each, now)
  }

  override async close(): Promise<void> {
    await super.close()
    if (this.#sweeper !== undefined) this.host.clock.stopTimer(this.#sweeper)
    this.#sweeper = undefined
  }

  /** @internal */
  sweep(): void {
    const now = this.host.clock.now()
    for (const [connection, each] of this.#sessions) {
      if (each.leavingSince === Number.POSITIVE_INFINITY) {
        if (now >= connection.retireAt) this.#leave(each, now)
      } else if (now >= each.leavingSince + this.settings.streamGrace) connection.socket.destroy()
      if (now >= each.cutAt) connection.socket.destroy()
      else this.#keepAlive(connection, each, now)
      each.guard.look()
    }
  }

  protected get alpn(): string {
    return 'h2'
  }

  protected get newRetireAt(): number {
    return Number.POSITIVE_INFINITY
  }

  protected createSecure(tls: object): TlsServer {
    const server = createTlsServer({ ...tls, ...SOCKET_OPTIONS } as object)
    server.on('secureConnection', (socket) => {
      // Node would answer it as HTTP/1.0 and keep it.
      if (socket.alpnProtocol !== 'h2' && !socket.destroyed) {
        this.refusePeer('handshake-failed', socket)
        socket.destroy()
      }
      this.#inject(socket)
    })
    return server
  }

  protected createPlain(): NetServer {
    const server = createServer(SOCKET_OPTIONS)
    server.on('connection', (socket) => this.#inject(socket))
    return server
  }

  protected farewell(reason: string): RefusalAnswer {
    return refuseConnection(reason)
  }

  protected admitted(): void {}

  protected lost(connection: Connection): void {
    this.#sessions.delete(connection)
  }

  protected end(connection: Connection): void {
    const each = this.#sessions.get(connection)
    if (each === undefined) connection.socket.destroy()
    else each.session.close(() => connection.socket.destroySoon())
  }

  #inject(socket: Socket): void {
    // Refused by the judge, which was asked before.
    if (!socket.destroyed) this.host.inject(socket)
  }

  #begin(session: ServerHttp2Session): void {
    const connection = connectionOf(session.socket)
    if (connection === undefined) {
      session.destroy()
      return
    }
    mark(session, connection)
    const { clock, events } = this.host
    const guard = guardSession(
      session,
      clock,
      (reason) => {
        const address = connection.socket.remoteAddress
        events.emit('peer:refused', {
          side: 'server',
          reason,
          ...(connection.caller?.service !== undefined && { peer: connection.caller.service }),
          ...(address !== undefined && { address }),
        })
      },
      LENIENT_LIMITS,
    )
    connection.guard = guard
    const heardAt = this.host.clock.now()
    const each: Session = {
      session,
      guard,
      leavingSince: Number.POSITIVE_INFINITY,
      heard: 0,
      heardAt,
      bytes: 0,
      askedAt: Number.POSITIVE_INFINITY,
      cutAt: heardAt + this.settings.headersTimeout,
    }
    this.#sessions.set(connection, each)
    session.once('remoteSettings', () => {
      each.cutAt = Number.POSITIVE_INFINITY
    })
    this.#sweeper ??= this.host.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  /** @internal */
  swept(): void {
    this.#sweeper = undefined
    this.sweep()
    if (this.#sessions.size > 0) this.#sweeper = this.host.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  /**
   * Not the two steps of RFC 9113, 6.8, with a first GOAWAY that promises to serve all that is
   * still on its way: after any GOAWAY that Node can send, nghttp2 ignores new streams without a
   * word, and the promise would leave them hanging. So the first GOAWAY tells the truth, and what
   * was on its way is a refusal to its client, which goes elsewhere.
   */
  #leave(each: Session, now: number): void {
    each.leavingSince = Math.min(each.leavingSince, now)
    if (!each.session.destroyed && !each.session.closed) each.session.close()
  }

  /**
   * Only what came whole is a sign of life. A peer within a head cannot acknowledge a PING, so
   * bytes that may be a part of one are asked about sooner. Without a call in progress the cut
   * costs none.
   */
  #keepAlive(connection: Connection, each: Session, now: number): void {
    const { heard } = each.guard
    if (heard !== each.heard) {
      each.heard = heard
      each.heardAt = now
      each.askedAt = Number.POSITIVE_INFINITY
      return
    }
    const { headersTimeout, keepalive } = this.settings
    const proven = connection.socket.bytesRead === each.bytes
    const waitMs = proven ? keepalive : Math.min(headersTimeout, keepalive)
    if (each.askedAt === Number.POSITIVE_INFINITY) {
      if (now - each.heardAt < waitMs || each.session.destroyed) return
      each.askedAt = now
      each.session.ping((error) => {
        if (error !== null) return
        each.bytes = connection.socket.bytesRead
        each.heardAt = this.host.clock.now()
        each.askedAt = Number.POSITIVE_INFINITY
      })
    } else if (now - each.askedAt >= keepalive) connection.socket.destroy()
    else if (connection.inFlight === 0 && now - each.askedAt >= waitMs) {
      this.#leave(each, now)
      each.cutAt = now
    }
  }
}

function sweep(acceptor: GrpcAcceptor): void {
  acceptor.swept()
}
