/**
 * What all HTTP connections of a mesh share: undici, identity, limits and one housekeeping timer.
 * After a rotation, connections with the old certificate retire at spread-out times.
 */
import type { LookupFunction } from 'node:net'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { TransportPreference } from '../../core/transport.ts'
import { OverrideProofs } from '../../identity/override-proofs.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import type { LocalDirectory } from '../../net/local-directory.ts'
import { checkedLookup } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import type { Probe } from '../health-checks.ts'
import { PoolSet } from '../pool-set.ts'
import type { Transport } from '../transport.ts'
import { TransportPreferences } from '../transport-preferences.ts'
import type { Suppressed } from './connection.ts'
import { httpHealth } from './health.ts'
import { HttpPool, type PoolHost } from './pool.ts'
import { type HttpTransportSettings, resolveHttpTransport } from './transport-options.ts'
import { loadUndici, type Undici } from './undici.ts'
import { UpgradePool } from './upgrade/pool.ts'

export interface HttpTransportParts {
  readonly clock?: Clock
  readonly identity?: ClientIdentity | undefined
  readonly settings?: HttpTransportSettings
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused?: (refused: RefusedPeer, endpoint: Endpoint) => void
  /** An endpoint rejected our certificate. It executed nothing. */
  readonly onRefusedByPeer?: (reason: string, endpoint: Endpoint) => void
  /**
   * Whether a name may resolve to loopback, as when the mesh is on one machine. @defaultValue true
   */
  readonly loopbackAllowed?: boolean
  /** Of Unix sockets. @defaultValue none are used */
  readonly localDirectory?: LocalDirectory | undefined
  /** Of the process, where no document says anything. @defaultValue {@link DEFAULT_TRANSPORT} */
  readonly preference?: TransportPreference
  /** Hides a dispatch from an instrumentation of undici: `CallTelemetry.suppressed`. */
  readonly suppressed?: Suppressed | undefined
}

export class HttpTransport implements PoolHost, Transport<HttpPool> {
  readonly undici: Undici
  readonly clock: Clock
  readonly settings: HttpTransportSettings
  readonly identity: ClientIdentity | undefined
  readonly suppressed: Suppressed | undefined
  readonly onPeerRefused: HttpTransportParts['onPeerRefused']
  readonly onRefusedByPeer: HttpTransportParts['onRefusedByPeer']
  readonly loopbackAllowed: boolean
  readonly localDirectory: LocalDirectory | undefined
  readonly overrides: OverrideProofs
  readonly lookup: LookupFunction
  readonly preferences: TransportPreferences
  closed = false
  readonly #pools: PoolSet<HttpPool | UpgradePool>

  private constructor(undici: Undici, parts: HttpTransportParts) {
    this.undici = undici
    this.clock = parts.clock ?? systemClock
    this.settings = parts.settings ?? resolveHttpTransport()
    this.identity = parts.identity
    this.suppressed = parts.suppressed
    this.loopbackAllowed = parts.loopbackAllowed ?? true
    this.localDirectory = parts.localDirectory
    this.preferences = new TransportPreferences(parts.preference)
    this.overrides = new OverrideProofs(parts.identity?.source, parts.identity?.verifier, this.clock)
    this.lookup = checkedLookup(this.loopbackAllowed)
    this.onPeerRefused = parts.onPeerRefused
    this.onRefusedByPeer = parts.onRefusedByPeer
    this.#pools = new PoolSet(this.clock, parts.identity, this.settings.rotationSpreadMs)
  }

  /** Loads undici first, which takes about 100 ms. */
  static async create(parts: HttpTransportParts = {}): Promise<HttpTransport> {
    return new HttpTransport(await loadUndici(), parts)
  }

  /** The pool of `endpoint`, kept on the endpoint from its first use. */
  poolOf(endpoint: Endpoint): HttpPool {
    const kept = endpoint.transport
    if (kept instanceof HttpPool) return kept
    const pool = new HttpPool(this, endpoint)
    endpoint.transport = pool
    return pool
  }

  prefer(service: string, preference: TransportPreference | undefined): void {
    if (!this.preferences.set(service, preference)) return
    for (const pool of [...this.#pools]) if (pool.endpoint.service === service) pool.follow()
  }

  /** A probe that asks for `path`. */
  probe(path: string): Probe {
    return httpHealth(this, path)
  }

  /** `pool` has connections, until {@link HttpTransport.emptied}. */
  opened(pool: HttpPool | UpgradePool): void {
    this.#pools.add(pool)
  }

  emptied(pool: HttpPool | UpgradePool): void {
    this.#pools.delete(pool)
  }

  /** Asks the peers of all open WebSockets to close them. May be repeated. */
  goAway(): void {
    for (const pool of this.#pools) if (pool instanceof UpgradePool) pool.goAway()
  }

  /** Closes the pools of all endpoints. Calls in flight have `graceMs` to finish. */
  close(graceMs: number): void {
    this.closed = true
    this.#pools.close(graceMs)
  }

  /** Connections in all states. */
  get connections(): number {
    return this.#pools.connections
  }

  /** @internal */
  sweep(): void {
    this.#pools.sweep(this.clock.now())
  }
}
