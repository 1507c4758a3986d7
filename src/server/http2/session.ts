/**
 * One HTTP/2 session: its keepalive, its flood guard and its end.
 *
 * - `serving` → `leaving`: retirement is due; GOAWAY names the last stream that is served
 * - `leaving` → `closed`: the streams have ended, or their grace has passed
 */
import { constants, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { type FloodGuard, guardSession, LENIENT_LIMITS } from '../../net/http2-flood-guard.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import type { EventSink } from '../../telemetry/events.ts'
import type { Connection } from '../connection.ts'
import { reportFlood } from '../flood-report.ts'

export interface SessionSettings {
  /** How long a new connection may take to send its SETTINGS, and each head to arrive. */
  readonly headersTimeout: number
  /** A connection is pinged after this time of silence, and closed after as long again. */
  readonly keepalive: number
  /** How long streams may continue on a connection that was asked to leave. */
  readonly streamGrace: number
  /** A connection without a stream for this time is asked to leave. @defaultValue never */
  readonly idle?: number
}

interface SessionHost {
  readonly clock: Clock
  readonly events: EventSink
}

export class ServedSession {
  readonly #session: ServerHttp2Session
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #settings: SessionSettings
  readonly #guard: FloodGuard
  /** `Infinity` while serving. */
  #leavingSince = Number.POSITIVE_INFINITY
  /** The guard's count of complete frames at {@link #heardAt}. */
  #heard = 0
  #heardAt: number
  /** Bytes received when the peer last acknowledged a PING; later ones may be part of a head. */
  #bytes = 0
  /** When the last PING was sent; `Infinity` without one in flight. */
  #pingedAt = Number.POSITIVE_INFINITY
  /** The peer is silent for too long; once more the event loop turns before it is given up. */
  #suspect = false
  /** When the session is destroyed, unless the peer has sent its SETTINGS by then. */
  #cutAt: number
  /** When a stream was last open, to within a sweep. */
  #activeAt: number

  constructor(
    session: ServerHttp2Session,
    connection: Connection,
    { clock, events }: SessionHost,
    settings: SessionSettings,
  ) {
    this.#session = session
    this.#connection = connection
    this.#clock = clock
    this.#settings = settings
    this.#guard = guardSession(session, clock, (reason) => reportFlood(events, connection, reason), LENIENT_LIMITS)
    this.#heardAt = clock.now()
    this.#activeAt = this.#heardAt
    this.#cutAt = this.#heardAt + settings.headersTimeout
    session.once('remoteSettings', () => {
      this.#cutAt = Number.POSITIVE_INFINITY
    })
    if (settings.idle !== undefined) {
      session.on('stream', () => {
        this.#activeAt = clock.now()
      })
    }
  }

  get flooded(): boolean {
    return this.#guard.flooded
  }

  /**
   * Sends one GOAWAY with the true last stream. RFC 9113, 6.8 suggests a first GOAWAY that promises
   * to serve streams in flight, but nghttp2 ignores new streams after any GOAWAY, so they would
   * hang.
   */
  leave(now: number): void {
    this.#leavingSince = Math.min(this.#leavingSince, now)
    if (!this.#session.destroyed && !this.#session.closed) this.#session.close()
  }

  /** Closes the connection after the streams have ended. */
  end(): void {
    this.#session.close(() => this.#connection.socket.destroySoon())
  }

  /** Says why the peer is refused, then closes the connection after the streams have ended. */
  dismiss(reason: string): void {
    if (this.#session.destroyed) return
    this.#session.goaway(constants.NGHTTP2_NO_ERROR, 0, Buffer.from(identityRefusal(reason), 'latin1'))
    this.end()
  }

  sweep(now: number): void {
    const { retireAt, socket, inFlight } = this.#connection
    if (inFlight > 0) this.#activeAt = now
    if (this.#leavingSince === Number.POSITIVE_INFINITY) {
      if (now >= retireAt || now - this.#activeAt >= (this.#settings.idle ?? Number.POSITIVE_INFINITY)) this.leave(now)
    } else if (now >= this.#leavingSince + this.#settings.streamGrace) socket.destroy()
    if (now >= this.#cutAt) socket.destroy()
    else this.#keepAlive(socket, now)
    this.#guard.look()
  }

  /**
   * Only a complete frame counts as activity. A peer within a head cannot acknowledge a PING, so a
   * possible partial head shortens the wait.
   */
  #keepAlive(socket: Socket, now: number): void {
    const { heard } = this.#guard
    if (heard !== this.#heard) {
      this.#heard = heard
      this.#heardAt = now
      this.#pingedAt = Number.POSITIVE_INFINITY
      return
    }
    const { headersTimeout, keepalive } = this.#settings
    const betweenFrames = socket.bytesRead === this.#bytes
    const waitMs = betweenFrames ? keepalive : Math.min(headersTimeout, keepalive)
    if (this.#pingedAt === Number.POSITIVE_INFINITY) {
      if (now - this.#heardAt >= waitMs && !this.#session.destroyed) this.#ping(socket, now)
    } else if (now - this.#pingedAt >= keepalive) {
      // After a stall of our loop, the answer may wait in the socket.
      if (this.#suspect) socket.destroy()
      this.#suspect = true
    }
    // Without a call in flight, cutting the connection loses none.
    else if (this.#connection.inFlight === 0 && now - this.#pingedAt >= waitMs) {
      this.leave(now)
      this.#cutAt = now
    }
  }

  #ping(socket: Socket, now: number): void {
    this.#pingedAt = now
    this.#suspect = false
    this.#session.ping((error) => {
      if (error !== null) return
      this.#bytes = socket.bytesRead
      this.#heardAt = this.#clock.now()
      this.#pingedAt = Number.POSITIVE_INFINITY
    })
  }
}
