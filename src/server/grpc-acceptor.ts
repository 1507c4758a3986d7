/**
 * The HTTP/2 half of accepting: connections that have been judged become sessions of the application's grpc-js server. A session is asked to
 * leave by GOAWAY and then has time for its streams; one that has gone silent is asked for a sign of life.
 *
 * serving -> leaving: its time has come (GOAWAY, streams still begin) · leaving -> closing: a moment later (no new streams)
 * closing -> closed: its streams have ended, or their grace is over
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import type { Timer } from '../core/clock.ts'
import { guardSession } from '../core/http2-flood-guard.ts'
import { Acceptor, type AcceptorHost } from './acceptor.ts'
import { type Connection, connectionOf, mark } from './connection.ts'
import type { GrpcServerSettings } from './grpc-server-options.ts'

export interface GrpcAcceptorHost extends AcceptorHost {
  /** Speaks HTTP/2 on a connection. */
  inject(socket: Socket): void
}

/** How often sessions are looked at, while there are any. */
const SWEEP_MS = 500
/** Between "I am leaving" and "I take no more": streams that were on their way are still served (RFC 9113, 6.8). */
const ON_THE_WIRE_MS = 1_000
/** The highest stream id: everything that has been begun is served. */
const ALL_STREAMS = 2 ** 31 - 1

interface Session {
  readonly session: ServerHttp2Session
  leavingSince: number
  closing: boolean
  /** What had been received when something last came, and when that was. */
  bytes: number
  heardAt: number
  asked: boolean
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
    for (const each of this.#sessions.values()) this.#close(each)
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
      if (each.leavingSince === 0) {
        if (now >= connection.retireAt) this.#leave(each, now)
      } else if (!each.closing) {
        if (now >= each.leavingSince + ON_THE_WIRE_MS) this.#close(each)
      } else if (now >= each.leavingSince + this.settings.streamGrace) connection.socket.destroy()
      this.#keepAlive(connection, each, now)
    }
  }

  protected get alpn(): string {
    return 'h2'
  }

  protected get newRetireAt(): number {
    return Number.POSITIVE_INFINITY
  }

  protected createSecure(tls: object): TlsServer {
    const server = createTlsServer({ ...tls, noDelay: true, keepAlive: true } as object)
    server.on('secureConnection', (socket) => this.#inject(socket))
    return server
  }

  protected createPlain(): NetServer {
    const server = createServer({ noDelay: true, keepAlive: true })
    server.on('connection', (socket) => this.#inject(socket))
    return server
  }

  protected admitted(connection: Connection): void {
    connection.socket.on('error', () => {})
  }

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
    connection.guard = guardSession(session, clock, (reason) => {
      const address = connection.socket.remoteAddress
      events.emit('peer:refused', {
        side: 'server',
        reason,
        ...(connection.caller?.service !== undefined && { peer: connection.caller.service }),
        ...(address !== undefined && { address }),
      })
    })
    const heardAt = this.host.clock.now()
    this.#sessions.set(connection, { session, leavingSince: 0, closing: false, bytes: 0, heardAt, asked: false })
    this.#sweeper ??= this.host.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  /** @internal */
  swept(): void {
    this.#sweeper = undefined
    this.sweep()
    if (this.#sessions.size > 0) this.#sweeper = this.host.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  #leave(each: Session, now: number): void {
    each.leavingSince = now
    if (!each.session.destroyed && !each.session.closed) each.session.goaway(0, ALL_STREAMS)
  }

  #close(each: Session): void {
    if (each.leavingSince === 0) each.leavingSince = this.host.clock.now()
    each.closing = true
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
