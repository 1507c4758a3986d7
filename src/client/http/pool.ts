/**
 * The connections of one endpoint, opened on demand and reused last in, first out. An attempt
 * without a connection waits in a bounded queue, and may leave it unsent.
 */
import type { Timer } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { hasEnded, PeerProof } from '../peer-end.ts'
import { type ConnectionOwner, type ConnectionSetup, type DialFailure, HttpConnection } from './connection.ts'
import type { ConnectionUser, RequestPool } from './connection-user.ts'

/** Hosts the pools of all endpoints and does their housekeeping. */
export interface PoolHost extends ConnectionSetup {
  readonly closed: boolean
  /** `pool` has connections from now on. */
  opened(pool: HttpPool): void
  /** Its last connection has closed. */
  emptied(pool: HttpPool): void
}

/**
 * Concurrent handshakes with one endpoint. A full mTLS handshake costs each side 2 ms of CPU, so
 * the calls that wait for a busy endpoint must not add one each.
 */
const MOST_DIALING = 4

export class HttpPool implements RequestPool, ConnectionOwner {
  readonly endpoint: Endpoint
  readonly #host: PoolHost
  readonly #all = new Set<HttpConnection>()
  /** The last one is used next. */
  readonly #idle: HttpConnection[] = []
  readonly #proof = new PeerProof()
  #dialing = 0
  #waiting = 0
  #first: ConnectionUser | undefined = undefined
  #last: ConnectionUser | undefined = undefined
  #serving = false
  #closing = false
  #graceTimer: Timer | undefined = undefined

  constructor(host: PoolHost, endpoint: Endpoint) {
    this.#host = host
    this.endpoint = endpoint
  }

  get connections(): number {
    return this.#all.size
  }

  get idle(): number {
    return this.#idle.length
  }

  get waiting(): number {
    return this.#waiting
  }

  /**
   * Whether a connection is established. If not, waiters are blocked on connecting rather than on
   * capacity.
   */
  get reachable(): boolean {
    return this.#all.size > this.#dialing
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
    const connection = this.#first === undefined ? this.#popIdle() : undefined
    if (connection !== undefined) {
      assign(user, connection)
      return
    }
    if (this.endpoint.tls && this.#host.identity === undefined) {
      user.refused('identity-rejected', new Error(`${this.endpoint.label} wants mTLS, and we have no identity`))
      return
    }
    if (this.#waiting >= this.#host.settings.maxWaiting && this.#all.size >= this.#host.settings.maxConnections) {
      user.refused('queue-full', undefined)
      return
    }
    this.#enqueue(user)
    this.#dial()
  }

  /** A waiting user gives up. */
  leave(user: ConnectionUser): void {
    if (user.waitingIn !== this) return
    if (user.ahead === undefined) this.#first = user.behind
    else user.ahead.behind = user.behind
    if (user.behind === undefined) this.#last = user.ahead
    else user.behind.ahead = user.ahead
    user.waitingIn = undefined
    user.ahead = undefined
    user.behind = undefined
    this.#waiting -= 1
  }

  /** The response is complete, or it failed and took the connection with it. */
  release(connection: HttpConnection): void {
    connection.user = undefined
    if (!connection.usable) return
    const now = this.#host.clock.now()
    if (this.#closing || now >= connection.retireAt) {
      // undici is still finishing the response and then closes it.
      setImmediate(() => connection.close())
      return
    }
    connection.park(now)
    this.#idle.push(connection)
    this.#serveSoon()
  }

  connected(connection: HttpConnection): void {
    this.#dialing -= 1
    this.#proof.add(connection)
    if (this.#closing) {
      connection.close()
      return
    }
    const user = this.#dequeue()
    if (user === undefined) {
      connection.park(this.#host.clock.now())
      this.#idle.push(connection)
    } else assign(user, connection)
    this.#dial()
  }

  closed(connection: HttpConnection, failure: DialFailure | undefined): void {
    this.#all.delete(connection)
    if (failure !== undefined) {
      this.#dialing -= 1
      // A timeout proves nothing while other connections are established: waiters keep waiting for
      // one of them.
      if (!failure.late || !this.reachable) this.#dequeue()?.refused(failure.code, failure.cause)
      // No connection is established and waiters outnumber handshakes: the rest would fail one
      // after another.
      while (!this.reachable && this.#waiting > this.#dialing) this.#dequeue()!.refused(failure.code, failure.cause)
    } else {
      const at = this.#idle.indexOf(connection)
      if (at >= 0) this.#idle.splice(at, 1)
    }
    if (!this.#closing) this.#dial()
    if (this.#all.size === 0) this.#emptied()
  }

  /**
   * After a rotation: every current connection retires at a random time within `spreadMs` of
   * `from`.
   */
  retire(from: number, spreadMs: number): void {
    for (const connection of this.#all) {
      connection.retireAt = Math.min(connection.retireAt, from + this.#host.clock.random() * spreadMs)
    }
  }

  /** After a change of the trust bundle. */
  judge(verifier: PeerVerifier): void {
    this.#proof.judge(this.#all, verifier, this.#host.clock)
  }

  /**
   * Closes connections that are expired, retired or idle for long, least recently used first.
   */
  sweep(now: number): void {
    this.#proof.cutEnded(this.#all, this.#host.clock)
    if (this.#waiting > 0 && this.#all.size >= this.#host.settings.maxConnections) this.#reclaim(now)
    const { idleTimeoutMs, spareConnections } = this.#host.settings
    for (let i = this.#idle.length - 1; i >= 0; i--) {
      const connection = this.#idle[i]!
      const spare = this.#idle.length - i <= spareConnections
      if (now >= connection.retireAt || (!spare && now - connection.idleSince >= idleTimeoutMs)) {
        this.#idle.splice(i, 1)
        connection.close()
      }
    }
  }

  /** The peer is denied: cuts every connection, whatever runs on it. */
  cut(cause: Error): void {
    for (const connection of [...this.#all]) connection.cut(cause)
  }

  close(graceMs: number): void {
    if (this.#closing) return
    this.#closing = true
    for (const connection of this.#idle.splice(0)) connection.close()
    for (let user = this.#dequeue(); user !== undefined; user = this.#dequeue()) {
      user.refused('connect-failed', new Error(`${this.endpoint.label} has been withdrawn`))
    }
    if (this.#all.size > 0) {
      this.#graceTimer = this.#host.clock.startBackgroundTimer(graceMs, closeAll, this.#all)
    }
  }

  /** Callers that never read their body must not exhaust the connections of others. */
  #reclaim(now: number): void {
    let wanted = this.#waiting
    for (const connection of [...this.#all]) {
      if (wanted > 0 && connection.user?.giveBackUnread?.(now) === true) wanted -= 1
    }
  }

  #emptied(): void {
    this.#host.emptied(this)
    if (this.#graceTimer !== undefined) this.#host.clock.stopTimer(this.#graceTimer)
    this.#graceTimer = undefined
  }

  /** Opens one connection per waiter, up to the limits. Waiters take any of them. */
  #dial(): void {
    const most = this.#host.settings.maxConnections
    while (this.#dialing < Math.min(this.#waiting, MOST_DIALING) && this.#all.size < most) {
      this.#dialing += 1
      this.#all.add(new HttpConnection(this, this.#host))
      if (this.#all.size === 1) this.#host.opened(this)
    }
  }

  #popIdle(): HttpConnection | undefined {
    for (;;) {
      const connection = this.#idle.pop()
      if (connection === undefined) return undefined
      if (this.#isOver(connection)) connection.close()
      else if (connection.usable) return connection
    }
  }

  #isOver({ retireAt, endsAt }: HttpConnection): boolean {
    const { clock } = this.#host
    if (retireAt !== Number.POSITIVE_INFINITY && clock.now() >= retireAt) return true
    return endsAt !== Number.POSITIVE_INFINITY && hasEnded(endsAt, clock)
  }

  /** Deferred, because undici is still finishing the response that has just ended. */
  #serveSoon(): void {
    if (this.#first === undefined || this.#serving) return
    this.#serving = true
    queueMicrotask(() => {
      this.#serving = false
      while (this.#first !== undefined) {
        const connection = this.#popIdle()
        if (connection === undefined) {
          this.#dial()
          return
        }
        assign(this.#dequeue()!, connection)
      }
    })
  }

  #enqueue(user: ConnectionUser): void {
    user.waitingIn = this
    user.ahead = this.#last
    user.behind = undefined
    if (this.#last === undefined) this.#first = user
    else this.#last.behind = user
    this.#last = user
    this.#waiting += 1
  }

  #dequeue(): ConnectionUser | undefined {
    const user = this.#first
    if (user !== undefined) this.leave(user)
    return user
  }
}

function assign(user: ConnectionUser, connection: HttpConnection): void {
  connection.user = user
  user.assigned(connection)
}

function closeAll(connections: ReadonlySet<HttpConnection>): void {
  for (const connection of [...connections]) connection.close()
}
