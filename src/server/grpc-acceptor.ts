/**
 * The HTTP/2 half of accepting: connections that have been judged become sessions of the application's grpc-js server. A session is asked to
 * leave by GOAWAY and then has time for its streams; one that has gone silent is asked for a sign of life.
 *
 * serving -> leaving: its time has come (GOAWAY with the last stream that came; what comes later is not served, and its client knows)
 * leaving -> closed: its streams have ended, or their grace is over
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import type { Timer } from '../core/clock.ts'
import { guardSession, PATIENT } from '../core/http2-flood-guard.ts'
import { Acceptor, type AcceptorHost, SOCKET_OPTIONS } from './acceptor.ts'
import { type Connection, connectionOf, mark } from './connection.ts'
import type { Answer } from './farewell.ts'
import { grpcFarewell } from './grpc-farewell.ts'
import type { GrpcServerSettings } from './grpc-server-options.ts'

export interface GrpcAcceptorHost extends AcceptorHost {
  /** Speaks HTTP/2 on a connection. */
  inject(socket: Socket): void
}

/** How often sessions are looked at, while there are any. */
const SWEEP_MS = 500

interface Session {
  readonly session: ServerHttp2Session
  /** `Infinity`: it is not. */
  leavingSince: number
  /** What had been received when something last came, and when that was. */
  bytes: number
  heardAt: number
  asked: boolean
  /** Until it says its first word, which is its SETTINGS, it must do that by then; `Infinity`: it has. */
  greetsBy: number
}

export class GrpcAcceptor extends Acceptor<GrpcAcceptorHost, GrpcServerSettings> {
  readonly #sessions = new Map<Connection, Session>()
  #sweeper: Timer | undefined

  /** grpc-js's own server, whose sessions are ours. */
  attend(server: Http2Server): void {
    server.on('session', (session: ServerHttp2Session) => this.#begin(session))
    server.on('sessionError', () => {})
  }

  /** All sessions are asked to leave now; new ones may still come, from whoever has not heard yet. */
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
      if (now >= each.greetsBy) connection.socket.destroy()
      else this.#keepAlive(connection, each, now)
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

  protected farewell(reason: string): Answer {
    return grpcFarewell(reason)
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
    connection.guard = guardSession(
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
      PATIENT,
    )
    const heardAt = this.host.clock.now()
    const each: Session = {
      session,
      leavingSince: Number.POSITIVE_INFINITY,
      bytes: 0,
      heardAt,
      asked: false,
      greetsBy: heardAt + this.settings.headersTimeout,
    }
    this.#sessions.set(connection, each)
    session.once('remoteSettings', () => {
      each.greetsBy = Number.POSITIVE_INFINITY
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
   * Not the two steps of RFC 9113, 6.8, with a first GOAWAY that promises to serve all that is still on its way: after any GOAWAY that Node
   * can send, nghttp2 ignores new streams without a word, and the promise would leave them hanging. So the first GOAWAY tells the truth, and
   * what was on its way is a refusal to its client, which goes elsewhere.
   */
  #leave(each: Session, now: number): void {
    each.leavingSince = Math.min(each.leavingSince, now)
    if (!each.session.destroyed && !each.session.closed) each.session.close()
  }

  #keepAlive(connection: Connection, each: Session, now: number): void {
    const { bytesRead } = connection.socket
    if (bytesRead !== each.bytes) {
      each.bytes = bytesRead
      each.heardAt = now
      each.asked = false
      return
    }
    const silentMs = now - each.heardAt
    if (silentMs < this.settings.keepalive) return
    if (!each.asked) {
      each.asked = true
      if (!each.session.destroyed) each.session.ping(() => {})
    } else if (silentMs >= 2 * this.settings.keepalive) connection.socket.destroy()
  }
}

function sweep(acceptor: GrpcAcceptor): void {
  acceptor.swept()
}
