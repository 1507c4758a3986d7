/**
 * The connections of one endpoint, opened on demand. Calls share a connection that carries many; of
 * the others, the last one used is used next. An attempt without a connection waits in a bounded
 * queue, and may leave it unsent.
 */
import type { Timer } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { HTTP2, MUX } from '../../core/transport.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import type { Dial, DialFailure, DialOwner } from '../dial.ts'
import type { MuxConnection } from '../mux/connection.ts'
import { PeerProof } from '../peer-end.ts'
import { HttpConnection } from './connection.ts'
import type { ConnectionUser, RequestConnection, RequestPool } from './connection-user.ts'
import { Dialer, type DialerSetup } from './dialer.ts'
import { Http2Connection } from './http2-connection.ts'
import { IdleConnections } from './idle-connections.ts'
import { HttpMuxConnection } from './mux-connection.ts'
import { transportOf } from './offers.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { SharedConnections } from './shared-connections.ts'
import { UpgradePool } from './upgrade/pool.ts'
import { WaitingLine } from './waiting-line.ts'

/** Hosts the pools of all endpoints and does their housekeeping. */
export interface PoolHost extends DialerSetup {
  readonly closed: boolean
  /** `pool` has connections from now on. */
  opened(pool: HttpPool | UpgradePool): void
  /** Its last connection has closed. */
  emptied(pool: HttpPool | UpgradePool): void
}

type SharedConnection = MuxConnection | Http2Connection

export class HttpPool implements RequestPool, DialOwner {
  readonly endpoint: Endpoint
  readonly #host: PoolHost
  readonly #dialer: Dialer
  /** All established connections, retiring ones included. */
  readonly #all = new Set<PooledConnection>()
  readonly #shared: SharedConnections
  readonly #idle: IdleConnections
  readonly #line = new WaitingLine(this)
  readonly #proof = new PeerProof()
  #serving = false
  #closing = false
  #graceTimer: Timer | undefined = undefined
  #upgrades: UpgradePool | undefined = undefined

  constructor(host: PoolHost, endpoint: Endpoint) {
    this.#host = host
    this.endpoint = endpoint
    this.#shared = new SharedConnections(host.clock)
    this.#idle = new IdleConnections(host.clock)
    this.#dialer = new Dialer(this, host)
  }

  get upgrades(): UpgradePool {
    this.#upgrades ??= new UpgradePool(this.#host, this.endpoint)
    return this.#upgrades
  }

  get connections(): number {
    return this.#all.size + this.#dialer.dials.size
  }

  /** Connections on which no call runs. */
  get idle(): number {
    return this.#idle.size + this.#shared.unused
  }

  get waiting(): number {
    return this.#line.length
  }

  /**
   * Whether a connection is established and its peer is not silent. If not, waiters are blocked on
   * connecting rather than on capacity.
   */
  get reachable(): boolean {
    for (const connection of this.#all) if (!connection.silent) return true
    return false
  }

  /** Gives `user` a connection, now or later, or refuses. */
  take(user: ConnectionUser): void {
    if (this.#closing) {
      user.refused('connect-failed', new Error(`${this.endpoint.label} has been withdrawn`))
      return
    }
    if (this.#host.closed) {
      user.refused('closed', undefined)
      return
    }
    const connection = this.#line.first === undefined ? this.#free() : undefined
    if (connection !== undefined) {
      assign(user, connection)
      return
    }
    if (this.endpoint.tls && this.#host.identity === undefined) {
      user.refused('identity-rejected', new Error(`${this.endpoint.label} wants mTLS, and we have no identity`))
      return
    }
    if (this.#line.length >= this.#host.settings.maxWaiting && this.#isFull) {
      user.refused('queue-full', undefined)
      return
    }
    this.#line.add(user)
    this.#dial()
  }

  /** A waiting user gives up. */
  leave(user: ConnectionUser): void {
    this.#line.leave(user)
  }

  /** The response is complete, or it failed and took the connection with it. */
  release(released: RequestConnection): void {
    const connection = released as PooledConnection
    // A shared one reports its room itself.
    if (connection.shared) return
    connection.user = undefined
    if (!connection.usable) return
    const now = this.#host.clock.now()
    if (this.#closing || now >= connection.retireAt) {
      connection.finish()
      return
    }
    connection.park(now)
    this.#idle.push(connection)
    this.#serveSoon()
  }

  opened(dial: Dial, chosen: string | undefined): void {
    if (this.#closing) {
      dial.close()
      return
    }
    const { tls } = this.endpoint
    const transport = transportOf(dial.offers, chosen, tls)
    if (transport === MUX) new HttpMuxConnection(this, dial, this.#host.clock)
    else if (transport === HTTP2) new Http2Connection(this, dial, tls, this.#host.clock)
    else {
      const connection = new HttpConnection(this, this.#host, dial)
      this.#established(connection, dial)
      const user = this.#line.next()
      if (user !== undefined) assign(user, connection)
      else {
        connection.park(this.#host.clock.now())
        this.#idle.push(connection)
      }
      this.#dial()
    }
  }

  failed(dial: Dial, failure: DialFailure): void {
    if (!this.#dialer.failed(dial, failure)) {
      // A timeout proves nothing while other connections are established: waiters keep waiting for
      // one of them.
      if (!failure.late || !this.reachable) this.#line.next()?.refused(failure.code, failure.cause)
      // No connection is established and waiters outnumber handshakes: the rest would fail one
      // after another.
      while (!this.reachable && this.waiting > this.#dialer.dials.size) {
        this.#line.next()!.refused(failure.code, failure.cause)
      }
    }
    this.#gone()
  }

  /** A shared connection is established. */
  ready(ready: SharedConnection, dial: Dial): void {
    const connection = ready as PooledConnection
    this.#established(connection, dial)
    if (this.#closing) connection.finish()
    else this.#shared.add(connection)
    this.#serve()
    this.#dial()
  }

  roomChanged(connection: SharedConnection): void {
    if (this.#line.first !== undefined && connection.room > 0) this.#serveSoon()
  }

  leaving(leaving: SharedConnection): void {
    const connection = leaving as PooledConnection
    this.#forget(connection)
    connection.finish()
    this.#dial()
  }

  closed(closed: PooledConnection | SharedConnection): void {
    const connection = closed as PooledConnection
    this.#all.delete(connection)
    this.#forget(connection)
    this.#gone()
  }

  /**
   * After a rotation: every current connection retires at a random time within `spreadMs` of
   * `from`.
   */
  retire(from: number, spreadMs: number): void {
    for (const each of [...this.#all, ...this.#dialer.dials]) {
      each.retireAt = Math.min(each.retireAt, from + this.#host.clock.random() * spreadMs)
    }
  }

  /** After a change of the trust bundle. */
  judge(verifier: PeerVerifier): void {
    this.#proof.judge(this.#all, verifier, this.#host.clock)
  }

  /** Replaces connections that are no longer of the kind that is wanted, without losing a call. */
  follow(): void {
    if (!this.#dialer.follow()) return
    for (const dial of this.#dialer.dials) dial.retireAt = 0
    for (const connection of [...this.#all]) {
      if (connection.transport === this.#dialer.wanted) continue
      this.#forget(connection)
      connection.finish()
    }
  }

  /** Closes connections that are expired, retired or idle for long. */
  sweep(now: number): void {
    this.follow()
    this.#proof.cutEnded(this.#all, this.#host.clock)
    for (const connection of [...this.#all]) connection.tick(now)
    this.#serve()
    this.#dial()
    const { idleTimeoutMs, spareConnections } = this.#host.settings
    if (this.waiting > 0 && this.#counted >= this.#dialer.most) this.#reclaim(now)
    this.#shared.sweep(now, idleTimeoutMs, spareConnections)
    const { dials } = this.#dialer
    if (this.#shared.strained && dials.size === 0 && !this.#isFull && !this.#closing) this.#dialer.open()
    this.#idle.sweep(now, idleTimeoutMs, spareConnections)
  }

  /** The peer is denied: cuts every connection, whatever runs on it. */
  cut(cause: Error): void {
    for (const each of [...this.#all, ...this.#dialer.dials]) each.cut(cause)
  }

  close(graceMs: number): void {
    if (this.#closing) return
    this.#closing = true
    this.#upgrades?.close(graceMs)
    this.#idle.close()
    this.#shared.finish()
    for (let user = this.#line.next(); user !== undefined; user = this.#line.next()) {
      user.refused('connect-failed', new Error(`${this.endpoint.label} has been withdrawn`))
    }
    if (this.connections > 0) {
      this.#graceTimer = this.#host.clock.startBackgroundTimer(graceMs, closeAll, [this.#all, this.#dialer.dials])
    }
  }

  /** Connections that count for {@link Dialer.most}. */
  get #counted(): number {
    return this.#dialer.sharing ? this.#shared.size : this.#all.size
  }

  get #isFull(): boolean {
    return this.#counted + this.#dialer.dials.size >= this.#dialer.most
  }

  #established(connection: PooledConnection, dial: Dial): void {
    this.#dialer.established(dial, connection.transport)
    this.#all.add(connection)
    this.#proof.add(connection)
  }

  /** No more calls are assigned to it. */
  #forget(connection: PooledConnection): void {
    if (connection.shared) this.#shared.delete(connection)
    else this.#idle.delete(connection)
  }

  #gone(): void {
    if (!this.#closing) this.#dial()
    if (this.connections > 0) return
    this.#host.emptied(this)
    if (this.#graceTimer !== undefined) this.#host.clock.stopTimer(this.#graceTimer)
    this.#graceTimer = undefined
  }

  /** Callers that never read their body must not exhaust the connections of others. */
  #reclaim(now: number): void {
    let wanted = this.waiting
    for (const connection of [...this.#all]) {
      if (wanted > 0) wanted -= connection.giveBackUnread(now, wanted)
    }
  }

  #dial(): void {
    if (this.#closing || this.#line.first === undefined || this.#shared.hesitant) return
    const before = this.connections
    this.#dialer.dial(this.waiting, this.#counted)
    if (before === 0 && this.connections > 0) this.#host.opened(this)
  }

  #free(): PooledConnection | undefined {
    return (this.#shared.size > 0 ? this.#shared.free() : undefined) ?? this.#idle.pop()
  }

  /** Deferred, because the response that has just ended is still being finished. */
  #serveSoon(): void {
    if (this.#line.first === undefined || this.#serving) return
    this.#serving = true
    queueMicrotask(() => {
      this.#serving = false
      this.#serve()
      this.#dial()
    })
  }

  #serve(): void {
    while (this.#line.first !== undefined) {
      const connection = this.#free()
      if (connection === undefined) return
      assign(this.#line.next()!, connection)
    }
  }
}

function assign(user: ConnectionUser, connection: PooledConnection): void {
  if (!connection.shared) connection.user = user
  user.assigned(connection)
}

function closeAll(all: readonly ReadonlySet<{ close(): void }>[]): void {
  for (const each of all.flatMap((set) => [...set])) each.close()
}
