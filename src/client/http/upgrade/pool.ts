/**
 * The connections of one endpoint that carry upgrades: HTTP/1.1, opened for one user each and never
 * reused. Their number has no bound besides the limits of the policies.
 */
import type { Timer } from '../../../core/clock.ts'
import type { Endpoint } from '../../../core/endpoint.ts'
import { HTTP1 } from '../../../core/transport.ts'
import type { PeerVerifier } from '../../../identity/peer-verifier.ts'
import { Dial, type DialFailure, type DialOwner } from '../../dial.ts'
import { PeerProof } from '../../peer-end.ts'
import { type ConnectionOwner, type ConnectionSetup, HttpConnection } from '../connection.ts'
import type { ConnectionUser, RequestConnection, RequestPool } from '../connection-user.ts'
import type { PooledConnection } from '../pooled-connection.ts'
import { WaitingLine } from '../waiting-line.ts'

/** A full mTLS handshake costs each side 2 ms of CPU. */
const MOST_DIALING = 4
/** How long a peer has to answer a close frame once its endpoint is withdrawn. */
const CLOSE_MS = 5_000
/** A connection that carries many calls cannot change its protocol. */
const OFFERS: readonly string[] = Object.freeze([HTTP1])

export interface UpgradePoolHost extends ConnectionSetup {
  readonly closed: boolean
  /** `pool` has connections from now on. */
  opened(pool: UpgradePool): void
  /** Its last connection has closed. */
  emptied(pool: UpgradePool): void
}

/** Whose connection an upgrade may take over. */
interface UpgradeUser extends ConnectionUser {
  goAway?(): void
  sweep?(now: number): void
}

export class UpgradePool implements RequestPool, ConnectionOwner, DialOwner {
  readonly endpoint: Endpoint
  /** A waiting user always waits for a handshake, never for the connection of another. */
  readonly reachable = false
  readonly #host: UpgradePoolHost
  readonly #dials = new Set<Dial>()
  readonly #all = new Set<HttpConnection>()
  readonly #line = new WaitingLine(this)
  readonly #proof = new PeerProof()
  #closing = false
  #timer: Timer | undefined = undefined

  constructor(host: UpgradePoolHost, endpoint: Endpoint) {
    this.#host = host
    this.endpoint = endpoint
  }

  get connections(): number {
    return this.#all.size + this.#dials.size
  }

  get upgrades(): this {
    return this
  }

  take(user: ConnectionUser): void {
    const { label, tls } = this.endpoint
    if (this.#closing) user.refused('connect-failed', new Error(`${label} has been withdrawn`))
    else if (this.#host.closed) user.refused('closed', undefined)
    else if (tls && this.#host.identity === undefined) {
      user.refused('identity-rejected', new Error(`${label} wants mTLS, and we have no identity`))
    } else {
      this.#line.add(user)
      this.#dial()
    }
  }

  leave(user: ConnectionUser): void {
    this.#line.leave(user)
  }

  /** The answer was no upgrade. */
  release(released: RequestConnection): void {
    const connection = released as HttpConnection
    connection.user = undefined
    connection.finish()
  }

  opened(dial: Dial): void {
    this.#dials.delete(dial)
    const connection = new HttpConnection(this, this.#host, dial)
    this.#all.add(connection)
    this.#proof.add(connection)
    const user = this.#line.next()
    if (user === undefined) connection.close()
    else {
      connection.user = user
      user.assigned(connection)
    }
    this.#dial()
  }

  failed(dial: Dial, { code, cause }: DialFailure): void {
    this.#dials.delete(dial)
    this.#line.next()?.refused(code, cause)
    this.#gone()
  }

  closed(connection: PooledConnection): void {
    this.#all.delete(connection as HttpConnection)
    this.#gone()
  }

  /** An upgraded connection cannot be replaced: it stays until its certificate ends. */
  retire(): void {}

  /** Upgrades need HTTP/1.1, whatever else is preferred. */
  follow(): void {}

  /** After a change of the trust bundle. */
  judge(verifier: PeerVerifier): void {
    this.#proof.judge(this.#all, verifier, this.#host.clock)
  }

  sweep(now: number): void {
    this.#proof.cutEnded(this.#all, this.#host.clock)
    for (const { user } of this.#all) (user as UpgradeUser | undefined)?.sweep?.(now)
  }

  /** Asks the peers of all WebSockets to close them. */
  goAway(): void {
    for (const { user } of this.#all) (user as UpgradeUser | undefined)?.goAway?.()
  }

  /** The peer is denied: cuts every connection, whatever runs on it. */
  cut(cause: Error): void {
    for (const each of [...this.#all, ...this.#dials]) each.cut(cause)
  }

  /** WebSockets are asked to close after `graceMs`, because their instance may only have moved. */
  close(graceMs: number): void {
    if (this.#closing) return
    this.#closing = true
    for (let user = this.#line.next(); user !== undefined; user = this.#line.next()) {
      user.refused('connect-failed', new Error(`${this.endpoint.label} has been withdrawn`))
    }
    if (this.connections === 0) return
    if (graceMs > 0) this.#timer = this.#host.clock.startBackgroundTimer(graceMs, askToClose, this)
    else {
      this.goAway()
      this.closeAll()
    }
  }

  /** @internal The grace is over. */
  askToClose(): void {
    this.goAway()
    this.#timer = this.#host.clock.startBackgroundTimer(CLOSE_MS, closeAll, this)
  }

  /** @internal */
  closeAll(): void {
    for (const each of [...this.#all, ...this.#dials]) each.close()
  }

  #dial(): void {
    const before = this.connections
    while (this.#dials.size < Math.min(this.#line.length, MOST_DIALING)) {
      this.#dials.add(new Dial(this, this.#host, OFFERS))
    }
    if (before === 0 && this.connections > 0) this.#host.opened(this)
  }

  #gone(): void {
    this.#dial()
    if (this.connections > 0) return
    this.#host.emptied(this)
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}

function askToClose(pool: UpgradePool): void {
  pool.askToClose()
}

function closeAll(pool: UpgradePool): void {
  pool.closeAll()
}
