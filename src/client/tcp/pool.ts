/**
 * The TCP connections of one endpoint. Each has one user and is never used again; users only wait
 * for their turn to connect.
 */
import type { Timer } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { outcome } from '../../core/outcome.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { PeerProof } from '../peer-end.ts'
import type { EndpointPool } from '../transport.ts'
import { type ConnectionOwner, type ConnectionSetup, type ConnectionUser, TcpConnection } from './connection.ts'

/** Hosts the pools of all endpoints and does their housekeeping. */
export interface PoolHost extends ConnectionSetup {
  readonly closed: boolean
  /** `pool` has connections from now on. */
  began(pool: TcpPool): void
  /** Its last connection has closed. */
  emptied(pool: TcpPool): void
}

/**
 * Concurrent handshakes with one endpoint, each 2 ms of CPU on either side: a thousand at once
 * would time out together.
 */
const MOST_DIALING = 16

export class TcpPool implements EndpointPool, ConnectionOwner {
  readonly endpoint: Endpoint
  readonly #host: PoolHost
  readonly #all = new Set<TcpConnection>()
  readonly #proof = new PeerProof()
  /** First come, first served. */
  readonly #waiting = new Set<ConnectionUser>()
  #open = 0
  #closing = false
  #graceTimer: Timer | undefined

  constructor(host: PoolHost, endpoint: Endpoint) {
    this.#host = host
    this.endpoint = endpoint
  }

  get connections(): number {
    return this.#all.size
  }

  get reachable(): boolean {
    return this.#open > 0
  }

  /** Connections of which the caller may await an answer, or which are being established. */
  get busy(): number {
    let busy = this.#all.size - this.#open + this.#waiting.size
    for (const { isOpen, awaits } of this.#all) if (isOpen && awaits) busy += 1
    return busy
  }

  /** Opens a connection for `user`, now or when its turn comes, or refuses. */
  take(user: ConnectionUser): void {
    const { label, tls } = this.endpoint
    if (this.#host.closed) user.failed(outcome('refused', 'closed'))
    else if (this.#closing) user.failed(outcome('refused', 'connect-failed', new Error(`${label} has been withdrawn`)))
    else if (tls && this.#host.identity === undefined) {
      user.failed(outcome('refused', 'identity-rejected', new Error(`${label} wants mTLS, and we have no identity`)))
    } else {
      this.#waiting.add(user)
      this.#dial()
    }
  }

  /** A waiting user gives up. */
  leave(user: ConnectionUser): void {
    this.#waiting.delete(user)
  }

  opened(connection: TcpConnection): void {
    this.#open += 1
    this.#proof.add(connection)
    this.#dial()
  }

  closed(connection: TcpConnection): void {
    if (connection.isOpen) this.#open -= 1
    this.#all.delete(connection)
    this.#dial()
    if (this.#all.size > 0) return
    this.#host.emptied(this)
    if (this.#graceTimer !== undefined) this.#host.clock.stopTimer(this.#graceTimer)
    this.#graceTimer = undefined
  }

  /** After a rotation connections stay: a stream cannot go on over another one. */
  retire(): void {}

  /** After a change of the trust bundle. */
  judge(verifier: PeerVerifier): void {
    this.#proof.judge(this.#all, verifier, this.#host.clock)
  }

  /** Counts bytes, and cuts connections whose peer's certificate has ended. */
  sweep(): void {
    this.#proof.cutEnded(this.#all, this.#host.clock)
    for (const connection of this.#all) connection.account()
  }

  /** The peer is denied. */
  cut(cause: Error): void {
    for (const connection of [...this.#all]) connection.cut(cause)
  }

  /**
   * Of a withdrawn endpoint, open connections live on until their peer ends them: it drains them.
   * When the mesh closes they have `graceMs`.
   */
  close(graceMs: number): void {
    this.#closing = true
    for (const user of this.#waiting) {
      this.#waiting.delete(user)
      user.failed(outcome('refused', 'connect-failed', new Error(`${this.endpoint.label} has been withdrawn`)))
    }
    if (!this.#host.closed) return
    if (graceMs <= 0) destroyAll(this.#all)
    else if (this.#all.size > 0) {
      this.#graceTimer ??= this.#host.clock.startBackgroundTimer(graceMs, destroyAll, this.#all)
    }
  }

  #dial(): void {
    for (const user of this.#waiting) {
      if (this.#all.size - this.#open >= MOST_DIALING) return
      this.#waiting.delete(user)
      const connection = new TcpConnection(this, this.#host, user)
      this.#all.add(connection)
      if (this.#all.size === 1) this.#host.began(this)
      user.dialing(connection)
    }
  }
}

function destroyAll(connections: ReadonlySet<TcpConnection>): void {
  for (const connection of [...connections]) connection.destroy()
}
