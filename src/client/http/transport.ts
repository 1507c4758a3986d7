/**
 * What all HTTP connections of a mesh share: undici, our identity, the limits, the one housekeeping
 * timer. A rotated identity is a new generation: new connections use it at once, old ones retire
 * within a short time, spread so that they do not all shake hands again in the same instant.
 */
import type { LookupFunction } from 'node:net'
import { type Clock, systemClock, type Timer } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { check, fields, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import { checkedLookup } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import type { Probe } from '../health-checks.ts'
import { retirement } from '../retirement.ts'
import type { Transport } from '../transport.ts'
import { httpHealth } from './health.ts'
import { HttpPool } from './pool.ts'
import { loadUndici, type Undici } from './undici.ts'

/** Connections of one endpoint. */
export interface HttpTransportOptions {
  /**
   * HTTP/1.1 connections to one endpoint; each carries one request at a time. Beyond it attempts
   * wait.
   * @defaultValue 64: at 10 ms a request that is 6,400 requests/s to one instance, more than a Node
   * process serves
   */
  readonly maxConnections?: number
  /**
   * Attempts waiting for a connection to one endpoint; beyond it they fail with `queue-full`.
   * @defaultValue 256
   */
  readonly maxWaiting?: number
  /** Bound of connecting, TLS included. @defaultValue `'1s'` (faults-and-attacks F5) */
  readonly connectTimeout?: number | `${number}${'ms' | 's'}`
  /**
   * Idle connections that are kept although unused; more are closed after `idleTimeout`.
   * @defaultValue 2
   */
  readonly spareConnections?: number
  /** @defaultValue `'15s'` */
  readonly idleTimeout?: number | `${number}${'ms' | 's' | 'm'}`
  /** Within this time after a rotation all old connections are replaced. @defaultValue `'2s'` */
  readonly rotationSpread?: number | `${number}${'ms' | 's' | 'm'}`
}

export const HTTP_TRANSPORT_FIELDS = fields({
  maxConnections: withDefault(integer({ min: 1, max: 10_000 }), 64),
  maxWaiting: withDefault(integer({ min: 0, max: 100_000 }), 256),
  connectTimeout: withDefault(duration({ min: 1, max: 60_000 }), 1_000, '1s'),
  spareConnections: withDefault(integer({ min: 0, max: 10_000 }), 2),
  idleTimeout: withDefault(duration({ min: 1, max: 3_600_000 }), 15_000, '15s'),
  rotationSpread: withDefault(duration({ min: 0, max: 60_000 }), 2_000, '2s'),
})

export interface HttpTransportSettings {
  readonly maxConnections: number
  readonly maxWaiting: number
  readonly connectTimeoutMs: number
  readonly spareConnections: number
  readonly idleTimeoutMs: number
  readonly rotationSpreadMs: number
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveHttpTransport(options?: HttpTransportOptions, what = 'connections'): HttpTransportSettings {
  const given = check(HTTP_TRANSPORT_FIELDS, options, what)
  return Object.freeze({
    maxConnections: given.maxConnections,
    maxWaiting: given.maxWaiting,
    connectTimeoutMs: given.connectTimeout,
    spareConnections: given.spareConnections,
    idleTimeoutMs: given.idleTimeout,
    rotationSpreadMs: given.rotationSpread,
  })
}

/** Runs `dispatch` where nobody else traces it. */
export type Suppressed = (dispatch: () => boolean) => boolean

export interface HttpTransportParts {
  readonly clock?: Clock
  readonly identity?: ClientIdentity | undefined
  readonly settings?: HttpTransportSettings
  /** An endpoint showed a certificate that was not believed; nothing was sent to it. */
  readonly onPeerRefused?: (refused: RefusedPeer, endpoint: Endpoint) => void
  /** An endpoint does not believe our certificate; it executed nothing. */
  readonly onRefusedByPeer?: (reason: string, endpoint: Endpoint) => void
  /**
   * Whether a name may resolve to loopback: all of the mesh is on this machine. @defaultValue true
   */
  readonly loopbackAllowed?: boolean
  /** Hides a dispatch from an instrumentation of undici: `CallTelemetry.suppressed`. */
  readonly suppressed?: Suppressed | undefined
}

/** How often idle connections are looked at, while there are any. */
const SWEEP_MS = 1_000

export class HttpTransport implements Transport<HttpPool> {
  readonly undici: Undici
  readonly clock: Clock
  readonly settings: HttpTransportSettings
  readonly identity: ClientIdentity | undefined
  readonly suppressed: Suppressed | undefined
  readonly onPeerRefused: HttpTransportParts['onPeerRefused']
  readonly onRefusedByPeer: HttpTransportParts['onRefusedByPeer']
  readonly loopbackAllowed: boolean
  readonly lookup: LookupFunction
  closed = false
  readonly #pools = new Set<HttpPool>()
  readonly #stopListening: (() => void) | undefined
  #sweeper: Timer | undefined

  private constructor(undici: Undici, parts: HttpTransportParts) {
    this.undici = undici
    this.clock = parts.clock ?? systemClock
    this.settings = parts.settings ?? resolveHttpTransport()
    this.identity = parts.identity
    this.suppressed = parts.suppressed
    this.loopbackAllowed = parts.loopbackAllowed ?? true
    this.lookup = checkedLookup(this.loopbackAllowed)
    this.onPeerRefused = parts.onPeerRefused
    this.onRefusedByPeer = parts.onRefusedByPeer
    this.#stopListening = parts.identity?.source.onRotate(() => this.#retireAll())
  }

  /** Loads undici first, which takes a tenth of a second. */
  static async create(parts: HttpTransportParts = {}): Promise<HttpTransport> {
    return new HttpTransport(await loadUndici(), parts)
  }

  /** The connections of `endpoint`, which keeps them from now on. */
  poolOf(endpoint: Endpoint): HttpPool {
    const kept = endpoint.transport
    if (kept instanceof HttpPool) return kept
    const pool = new HttpPool(this, endpoint)
    endpoint.transport = pool
    return pool
  }

  /** A probe that asks for `path`. */
  probe(path: string): Probe {
    return httpHealth(this, path)
  }

  /** Has connections from now on; until {@link HttpTransport.emptied}. */
  opened(pool: HttpPool): void {
    this.#pools.add(pool)
    this.#sweeper ??= this.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  emptied(pool: HttpPool): void {
    this.#pools.delete(pool)
  }

  /** All endpoints at once: what runs has `graceMs` to finish. */
  close(graceMs: number): void {
    this.closed = true
    this.#stopListening?.()
    for (const pool of [...this.#pools]) pool.close(graceMs)
    if (this.#sweeper !== undefined) this.clock.stopTimer(this.#sweeper)
    this.#sweeper = undefined
  }

  /** How many connections there are, in all states. */
  get connections(): number {
    let sum = 0
    for (const pool of this.#pools) sum += pool.connections
    return sum
  }

  sweep(): void {
    this.#sweeper = undefined
    const now = this.clock.now()
    for (const pool of [...this.#pools]) pool.sweep(now)
    if (this.#pools.size > 0) this.#sweeper = this.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  #retireAll(): void {
    const { from, spreadMs } = retirement(this.clock, this.settings.rotationSpreadMs)
    for (const pool of this.#pools) pool.retire(from, spreadMs)
  }
}

function sweep(transport: HttpTransport): void {
  transport.sweep()
}
