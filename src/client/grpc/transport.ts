/**
 * What all gRPC connections of a mesh share: grpc-js, our identity, the limits. A rotated identity
 * is a new generation: new connections use it at once, old ones take no more calls within a short
 * time, spread so that they do not all shake hands again in the same instant.
 */
import { AsyncResource } from 'node:async_hooks'
import type * as grpc from '@grpc/grpc-js'
import { type Clock, systemClock, type Timer } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import type { ClientIdentity } from '../client-identity.ts'
import type { Probe } from '../health-checks.ts'
import { retirement } from '../retirement.ts'
import type { Transport } from '../transport.ts'
import type { Grpc } from './grpc-js.ts'
import { grpcHealth } from './health.ts'
import { type OwnMetadata, ownMetadata } from './internals.ts'
import { GrpcPool, type GrpcPoolHost } from './pool.ts'
import { GRPC_TRANSPORT_DEFAULTS, type GrpcTransportSettings, LARGEST_MESSAGE } from './transport-options.ts'

const KEEPALIVE_TIMEOUT_MS = 5_000

/** How often ended certificates are looked for, while there are connections. */
const SWEEP_MS = 1_000
/** After so long without a call, the connection is closed. */
const IDLE_MS = 300_000

export interface GrpcTransportParts {
  readonly grpc: Grpc
  readonly clock?: Clock
  readonly identity?: ClientIdentity | undefined
  readonly settings?: Partial<GrpcTransportSettings>
  /** An endpoint showed a certificate that was not believed; nothing was sent to it. */
  readonly onPeerRefused?: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint does not believe our certificate; it executed nothing. */
  readonly onRefusedByPeer?: ((reason: string, endpoint: Endpoint) => void) | undefined
  /**
   * Whether a name may resolve to loopback: all of the mesh is on this machine. @defaultValue true
   */
  readonly loopbackAllowed?: boolean
}

export class GrpcTransport implements GrpcPoolHost, Transport<GrpcPool> {
  readonly grpc: Grpc
  readonly clock: Clock
  readonly identity: ClientIdentity | undefined
  readonly settings: GrpcTransportSettings
  readonly onPeerRefused: GrpcTransportParts['onPeerRefused']
  readonly onRefusedByPeer: GrpcTransportParts['onRefusedByPeer']
  readonly loopbackAllowed: boolean
  /** See {@link ownMetadata}. */
  readonly OwnMetadata: new () => OwnMetadata
  readonly insecure: grpc.ChannelCredentials
  readonly channelOptions: grpc.ChannelOptions
  /** The async context of connections, which are nobody's: that of who joined. */
  readonly context = new AsyncResource('inmesh.grpc.connections')
  closed = false
  /** Per service, what its clients take at most. */
  readonly #largest = new Map<string, number>()
  readonly #pools = new Set<GrpcPool>()
  readonly #stopListening: (() => void) | undefined
  #sweeper: Timer | undefined

  constructor(parts: GrpcTransportParts) {
    this.grpc = parts.grpc
    this.clock = parts.clock ?? systemClock
    this.identity = parts.identity
    this.settings = { ...GRPC_TRANSPORT_DEFAULTS, ...parts.settings }
    this.onPeerRefused = parts.onPeerRefused
    this.onRefusedByPeer = parts.onRefusedByPeer
    this.loopbackAllowed = parts.loopbackAllowed ?? true
    this.OwnMetadata = ownMetadata(this.grpc)
    this.insecure = this.grpc.credentials.createInsecure()
    this.channelOptions = Object.freeze({
      // What the mesh does itself.
      'grpc.enable_retries': 0,
      // It keeps the first MiB of a call even so, and says of each message in it at once that it
      // has left: a source that has always more would stop our loop until then.
      'grpc.per_rpc_retry_buffer_size': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
      // A connection belongs to one endpoint and one identity.
      'grpc.use_local_subchannel_pool': 1,
      // 8 kB a channel; whoever wants channelz has it for the channels of their own.
      'grpc.enable_channelz': 0,
      'grpc.keepalive_time_ms': this.settings.keepaliveMs,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.client_idle_timeout_ms': IDLE_MS,
    })
    this.#stopListening = parts.identity?.source.onRotate(() => this.#retireAll())
  }

  /** The connection of `endpoint`, which keeps it from now on. */
  poolOf(endpoint: Endpoint): GrpcPool {
    const kept = endpoint.transport
    if (kept instanceof GrpcPool) return kept
    const pool = new GrpcPool(this, endpoint)
    endpoint.transport = pool
    return pool
  }

  /** A probe that asks the standard health service. */
  probe(): Probe {
    return grpcHealth(this)
  }

  /** The largest message that a connection to `service` takes. */
  largestMessage(service: string): number {
    return this.#largest.get(service) ?? LARGEST_MESSAGE
  }

  /**
   * A client of `service` takes messages of up to `bytes`; connections made for less are replaced.
   */
  takeMessages(service: string, bytes: number): void {
    if (bytes > this.largestMessage(service)) this.#largest.set(service, bytes)
  }

  /** Has connections from now on; until {@link GrpcTransport.emptied}. */
  opened(pool: GrpcPool): void {
    this.#pools.add(pool)
    if (this.identity !== undefined) this.#sweeper ??= this.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  emptied(pool: GrpcPool): void {
    this.#pools.delete(pool)
  }

  /** How many connections there are. */
  get connections(): number {
    let sum = 0
    for (const pool of this.#pools) sum += pool.connections
    return sum
  }

  /** All endpoints at once: what runs has `graceMs` to finish. */
  close(graceMs: number): void {
    this.closed = true
    this.#stopListening?.()
    for (const pool of [...this.#pools]) pool.close(graceMs)
    if (this.#sweeper !== undefined) this.clock.stopTimer(this.#sweeper)
    this.#sweeper = undefined
  }

  /** @internal */
  sweep(): void {
    this.#sweeper = undefined
    for (const pool of this.#pools) pool.sweep()
    if (this.#pools.size > 0) this.#sweeper = this.clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  #retireAll(): void {
    const { from, spreadMs } = retirement(this.clock, this.settings.rotationSpreadMs)
    for (const pool of this.#pools) pool.retire(from, spreadMs)
  }
}

function sweep(transport: GrpcTransport): void {
  transport.sweep()
}
