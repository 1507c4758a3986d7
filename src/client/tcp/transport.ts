/** What all TCP connections of a mesh share: identity, limits and one housekeeping timer. */
import type { LookupFunction } from 'node:net'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { OverrideProofs } from '../../identity/override-proofs.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import type { LocalDirectory } from '../../net/local-directory.ts'
import type { TcpMetrics } from '../../telemetry/tcp-metrics.ts'
import { checkedLookup } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import type { Probe } from '../health-checks.ts'
import { PoolSet } from '../pool-set.ts'
import type { Transport } from '../transport.ts'
import { tcpHealth } from './health.ts'
import { type PoolHost, TcpPool } from './pool.ts'

/** Bound of connecting. More than for HTTP, because the server connects to its target meanwhile. */
const CONNECT_TIMEOUT_MS = 1_500

export interface TcpTransportParts {
  readonly clock?: Clock
  readonly identity?: ClientIdentity | undefined
  /** @defaultValue 1,500 */
  readonly connectTimeoutMs?: number
  readonly metrics?: TcpMetrics | undefined
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused?: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint rejected our certificate. */
  readonly onRefusedByPeer?: ((reason: string, endpoint: Endpoint) => void) | undefined
  /**
   * Whether a name may resolve to loopback, as when the mesh is on one machine. @defaultValue true
   */
  readonly loopbackAllowed?: boolean
  /** Of Unix sockets. @defaultValue none are used */
  readonly localDirectory?: LocalDirectory | undefined
}

export class TcpTransport implements PoolHost, Transport<TcpPool> {
  readonly clock: Clock
  readonly settings: { readonly connectTimeoutMs: number }
  readonly identity: ClientIdentity | undefined
  readonly metrics: TcpMetrics | undefined
  readonly onPeerRefused: TcpTransportParts['onPeerRefused']
  readonly onRefusedByPeer: TcpTransportParts['onRefusedByPeer']
  readonly loopbackAllowed: boolean
  readonly localDirectory: LocalDirectory | undefined
  readonly lookup: LookupFunction
  readonly overrides: OverrideProofs
  closed = false
  readonly #pools: PoolSet<TcpPool>

  constructor(parts: TcpTransportParts = {}) {
    this.clock = parts.clock ?? systemClock
    this.settings = { connectTimeoutMs: parts.connectTimeoutMs ?? CONNECT_TIMEOUT_MS }
    this.identity = parts.identity
    this.metrics = parts.metrics
    this.onPeerRefused = parts.onPeerRefused
    this.onRefusedByPeer = parts.onRefusedByPeer
    this.loopbackAllowed = parts.loopbackAllowed ?? true
    this.localDirectory = parts.localDirectory
    this.lookup = checkedLookup(this.loopbackAllowed)
    this.overrides = new OverrideProofs(parts.identity?.source, parts.identity?.verifier, this.clock)
    this.#pools = new PoolSet(this.clock, parts.identity, 0)
  }

  /** The pool of `endpoint`, kept on the endpoint from its first use. */
  poolOf(endpoint: Endpoint): TcpPool {
    const kept = endpoint.transport
    if (kept instanceof TcpPool) return kept
    const pool = new TcpPool(this, endpoint)
    endpoint.transport = pool
    return pool
  }

  /** A probe that connects. */
  probe(): Probe {
    return tcpHealth(this)
  }

  /** There is one way to carry a connection. */
  prefer(): void {}

  began(pool: TcpPool): void {
    this.#pools.add(pool)
  }

  emptied(pool: TcpPool): void {
    this.#pools.delete(pool)
  }

  /** Open connections to all endpoints, and those that are being established. */
  get connections(): number {
    return this.#pools.connections
  }

  /** Those of which an answer may be due, or that are being established. */
  get busy(): number {
    let sum = 0
    for (const pool of this.#pools) sum += pool.busy
    return sum
  }

  close(graceMs: number): void {
    this.closed = true
    this.#pools.close(graceMs)
  }
}
