/**
 * The connection of one gRPC endpoint, opened on demand and shared by all its calls. Attempts wait
 * here for the connection or for a free stream on it; a cancelled waiter was certainly not sent.
 */
import type { Endpoint, InFlight } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { MUX } from '../../core/transport.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { hasEnded, PeerProof } from '../peer-end.ts'
import type { EndpointPool } from '../transport.ts'
import type { TransportPreferences } from '../transport-preferences.ts'
import { ChannelConnection } from './channel-connection.ts'
import type { GrpcConnection, GrpcConnectionSetup } from './connection.ts'
import type { GrpcConnectionUser } from './connection-user.ts'
import { type GrpcMuxOwner, MuxGrpcConnection } from './mux-connection.ts'

/** Hosts the pools of all endpoints. */
export interface GrpcPoolHost extends GrpcConnectionSetup {
  readonly closed: boolean
  readonly preferences: TransportPreferences
  /** `pool` has connections from now on. */
  opened(pool: GrpcPool): void
  /** Its last connection has closed. */
  emptied(pool: GrpcPool): void
}

/**
 * After this many consecutive timeouts without any answer, the connection is replaced: the peer may
 * have vanished.
 */
const MOST_SILENCES = 2

/** A peer that did not speak the mux may have been replaced after this. */
const FOREIGN_MS = 600_000

export class GrpcPool implements EndpointPool, GrpcMuxOwner {
  readonly endpoint: Endpoint
  readonly #host: GrpcPoolHost
  readonly #waiting = new Set<GrpcConnectionUser>()
  /** Probes, which go first. */
  readonly #ahead = new Set<GrpcConnectionUser>()
  /** All open connections, retiring ones included. */
  readonly #all = new Set<GrpcConnection>()
  readonly #proof = new PeerProof()
  #current: GrpcConnection | undefined
  #closing = false
  /** Until then it is taken to speak HTTP/2 only. */
  #foreignUntil = Number.NEGATIVE_INFINITY

  constructor(host: GrpcPoolHost, endpoint: Endpoint) {
    this.#host = host
    this.endpoint = endpoint
  }

  get connections(): number {
    return this.#all.size
  }

  get waiting(): number {
    return this.#waiting.size + this.#ahead.size
  }

  /** Whether its connection is established. */
  get reachable(): boolean {
    return this.#current?.ready === true
  }

  /** Gives `user` the connection, now or later, or refuses. */
  take(user: GrpcConnectionUser): void {
    if (this.#closing) {
      user.refused('connect-failed', this.#withdrawn())
      return
    }
    if (this.#host.closed) {
      user.refused('closed', undefined)
      return
    }
    if (this.endpoint.tls && this.#host.identity?.source === undefined) {
      user.refused('identity-rejected', new Error(`${this.endpoint.label} wants mTLS, and we have no identity`))
      return
    }
    let connection: GrpcConnection
    try {
      connection = this.#usable()
    } catch (error) {
      // There is no certificate yet (`startWithoutRegistry`).
      user.refused('identity-rejected', error)
      return
    }
    const { ready } = connection
    if (ready && connection.hasRoom && (user.ahead === true || this.#waiting.size === 0)) {
      assign(user, connection)
      return
    }
    // Those who wait are waiting for it, too, if it replaces another.
    if (!ready) connection.dial()
    if (user.ahead === true) this.#ahead.add(user)
    else if (this.#waiting.size < this.#host.settings.maxWaiting) this.#waiting.add(user)
    else {
      user.refused('queue-full', undefined)
      return
    }
    if (ready) connection.wantRoom()
  }

  /** A waiting user gives up. */
  leave(user: GrpcConnectionUser): void {
    if (!this.#waiting.delete(user)) this.#ahead.delete(user)
  }

  /** It takes one more stream than it did. */
  freed(connection: GrpcConnection): void {
    if (connection !== this.#current || !connection.ready) return
    for (const queue of [this.#ahead, this.#waiting]) {
      for (const user of queue) {
        if (!connection.hasRoom) {
          connection.wantRoom()
          return
        }
        queue.delete(user)
        assign(user, connection)
      }
    }
  }

  /** It takes no more calls, or is gone. Users that waited for a stream on it were not sent. */
  lost(connection: GrpcConnection, code: ErrorCode, reason: string): void {
    if (connection === this.#current) {
      this.#current = undefined
      const cause = new Error(`${this.endpoint.label}: ${reason}`)
      this.#wake((user) => user.refused(code, cause))
    }
    connection.retire()
  }

  /** It is established, or has failed: then calls on it report the reason. */
  dialed(connection: GrpcConnection, ready: boolean): void {
    if (ready) this.#proof.add(connection)
    if (connection !== this.#current) return
    if (ready) {
      this.freed(connection)
      return
    }
    this.#current = undefined
    this.#wake((user) => assign(user, connection))
    connection.retire()
  }

  failed(connection: GrpcConnection, code: ErrorCode, cause: Error): void {
    if (connection === this.#current) {
      this.#current = undefined
      this.#wake((user) => user.refused(code, cause))
    }
    connection.retire()
  }

  /** Those who wait for it wait for a channel. */
  foreign(connection: GrpcConnection): void {
    this.#foreignUntil = this.#host.clock.now() + FOREIGN_MS
    const isCurrent = connection === this.#current
    if (isCurrent) this.#current = undefined
    connection.retire()
    if (isCurrent) this.#replace()
  }

  closed(connection: GrpcConnection): void {
    this.#all.delete(connection)
    if (this.#current === connection) this.#current = undefined
    if (this.#all.size === 0) this.#host.emptied(this)
  }

  /** An attempt on `connection` that began at `startedAt` has run out of time. */
  silent(connection: GrpcConnection, startedAt: number): void {
    if (connection.heardAt > startedAt || connection.retireAt === 0) return
    connection.silences += 1
    if (connection.silences < MOST_SILENCES) return
    if (this.#current === connection) {
      this.#current = undefined
      this.#replace()
    }
    connection.retire()
  }

  /** Once a second. */
  sweep(now: number): void {
    for (const connection of this.#all) connection.sweep(now)
    // Closes connections whose peer's certificate has expired.
    this.#proof.cutEnded(this.#all, this.#host.clock)
  }

  /**
   * After a rotation: each connection stops taking calls at its own instant within `spreadMs` of
   * `from`.
   */
  retire(from: number, spreadMs: number): void {
    for (const connection of this.#all) {
      connection.retireAt = Math.min(connection.retireAt, from + this.#host.clock.random() * spreadMs)
    }
  }

  /** The peer is denied: ends every call, then cuts the connections. */
  cut(cause: Error): void {
    this.#endCalls(cause)
    for (const connection of [...this.#all]) {
      this.lost(connection, 'identity-rejected', cause.message)
      connection.cut(cause)
    }
  }

  /** After a change of the trust bundle. */
  judge(verifier: PeerVerifier): void {
    this.#proof.judge(this.#all, verifier, this.#host.clock)
  }

  close(graceMs: number): void {
    if (this.#closing) return
    this.#closing = true
    const cause = this.#withdrawn()
    this.#wake((user) => user.refused('connect-failed', cause))
    this.#current = undefined
    for (const connection of [...this.#all]) connection.retire()
    if (this.#all.size === 0) return
    this.#host.clock.startBackgroundTimer(graceMs, closeAll, this)
  }

  /**
   * The grace period is over. grpc-js closes a channel only once its calls have ended, so they end
   * first.
   */
  closeNow(): void {
    this.#endCalls(this.#withdrawn())
    for (const connection of [...this.#all]) connection.close()
  }

  #endCalls(cause: Error): void {
    const running: InFlight[] = []
    for (let { oldest } = this.endpoint; oldest !== undefined; oldest = oldest.newer) running.push(oldest)
    for (const attempt of running) attempt.cut?.(cause)
  }

  #usable(): GrpcConnection {
    let connection = this.#current
    if (connection !== undefined && (connection.lost || this.#isOutdated(connection))) {
      connection.retire()
      connection = undefined
    }
    if (connection === undefined) {
      connection = this.#speaksMux ? new MuxGrpcConnection(this, this.#host) : new ChannelConnection(this, this.#host)
      this.#current = connection
      this.#all.add(connection)
      this.#host.opened(this)
    }
    return connection
  }

  /**
   * Whether the mux is tried. With TLS, a peer that does not speak it says so in the handshake; in
   * plaintext it must have announced it.
   */
  get #speaksMux(): boolean {
    const { service, tls, transports } = this.endpoint
    if (this.#host.preferences.of(service) !== 'auto') return false
    if (this.#host.clock.now() < this.#foreignUntil) return false
    return transports === undefined ? tls : transports.includes(MUX)
  }

  #isOutdated(connection: GrpcConnection): boolean {
    if (connection instanceof MuxGrpcConnection !== this.#speaksMux) return true
    if (connection.largestMessage < this.#host.largestMessage(this.endpoint.service)) return true
    const { clock } = this.#host
    if (connection.retireAt !== Number.POSITIVE_INFINITY && clock.now() >= connection.retireAt) return true
    return hasEnded(connection.endsAt, clock)
  }

  /** Users that waited for a stream wait for the next connection. */
  #replace(): void {
    if (this.waiting === 0) return
    try {
      this.#usable().dial()
    } catch (error) {
      this.#wake((user) => user.refused('identity-rejected', error))
    }
  }

  #wake(tell: (user: GrpcConnectionUser) => void): void {
    const waiting = [...this.#ahead, ...this.#waiting]
    this.#ahead.clear()
    this.#waiting.clear()
    for (const user of waiting) tell(user)
  }

  #withdrawn(): Error {
    return new Error(`${this.endpoint.label} has been withdrawn`)
  }
}

function assign(user: GrpcConnectionUser, connection: GrpcConnection): void {
  connection.take()
  user.assigned(connection)
}

function closeAll(pool: GrpcPool): void {
  pool.closeNow()
}
