/**
 * What all gRPC connections of a mesh share: grpc-js, our identity, the limits. After a rotation,
 * new connections use the new identity, and old ones retire spread over a short time.
 */
import { AsyncResource } from 'node:async_hooks'
import type { LookupFunction } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { GRPC_AGENT } from '../../core/headers.ts'
import type { TransportPreference } from '../../core/transport.ts'
import { OverrideProofs } from '../../identity/override-proofs.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import type { LocalDirectory } from '../../net/local-directory.ts'
import { installedVersion } from '../../options/optional-peer.ts'
import { checkedLookup } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import type { Probe } from '../health-checks.ts'
import { PoolSet } from '../pool-set.ts'
import type { Transport } from '../transport.ts'
import { TransportPreferences } from '../transport-preferences.ts'
import type { Grpc } from './grpc-js.ts'
import { grpcHealth } from './health.ts'
import { type OwnMetadata, ownMetadata } from './internals.ts'
import { GrpcPool, type GrpcPoolHost } from './pool.ts'
import { GRPC_TRANSPORT_DEFAULTS, type GrpcTransportSettings, LARGEST_MESSAGE } from './transport-options.ts'

const KEEPALIVE_TIMEOUT_MS = 5_000

/** A connection without calls closes after this. */
const IDLE_MS = 300_000

export interface GrpcTransportParts {
  readonly grpc: Grpc
  readonly clock?: Clock
  readonly identity?: ClientIdentity | undefined
  readonly settings?: Partial<GrpcTransportSettings>
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused?: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint rejected our certificate. It executed nothing. */
  readonly onRefusedByPeer?: ((reason: string, endpoint: Endpoint) => void) | undefined
  /**
   * Whether a name may resolve to loopback: all of the mesh is on this machine. @defaultValue true
   */
  readonly loopbackAllowed?: boolean
  /** Of Unix sockets. @defaultValue none are used */
  readonly localDirectory?: LocalDirectory | undefined
  /** Of the process, where no document says anything. @defaultValue {@link DEFAULT_TRANSPORT} */
  readonly preference?: TransportPreference
}

export class GrpcTransport implements GrpcPoolHost, Transport<GrpcPool> {
  readonly grpc: Grpc
  readonly clock: Clock
  readonly identity: ClientIdentity | undefined
  readonly settings: GrpcTransportSettings
  readonly onPeerRefused: GrpcTransportParts['onPeerRefused']
  readonly onRefusedByPeer: GrpcTransportParts['onRefusedByPeer']
  readonly loopbackAllowed: boolean
  readonly localDirectory: LocalDirectory | undefined
  readonly overrides: OverrideProofs
  /** See {@link ownMetadata}. */
  readonly OwnMetadata: new () => OwnMetadata
  readonly insecure: grpc.ChannelCredentials
  readonly channelOptions: grpc.ChannelOptions
  /** The async context of connections: that of the code that joined the mesh. */
  readonly context = new AsyncResource('inmesh.grpc.connections')
  readonly preferences: TransportPreferences
  readonly lookup: LookupFunction
  readonly userAgent: string
  closed = false
  /** Largest message in bytes, by service. */
  readonly #largest = new Map<string, number>()
  readonly #pools: PoolSet<GrpcPool>

  constructor(parts: GrpcTransportParts) {
    this.grpc = parts.grpc
    this.clock = parts.clock ?? systemClock
    this.identity = parts.identity
    this.settings = { ...GRPC_TRANSPORT_DEFAULTS, ...parts.settings }
    this.onPeerRefused = parts.onPeerRefused
    this.onRefusedByPeer = parts.onRefusedByPeer
    this.loopbackAllowed = parts.loopbackAllowed ?? true
    this.localDirectory = parts.localDirectory
    this.preferences = new TransportPreferences(parts.preference)
    this.overrides = new OverrideProofs(parts.identity?.source, parts.identity?.verifier, this.clock)
    this.lookup = checkedLookup(this.loopbackAllowed)
    this.userAgent = `grpc-node-js/${installedVersion('@grpc/grpc-js')}`
    this.OwnMetadata = ownMetadata(this.grpc)
    this.insecure = this.grpc.credentials.createInsecure()
    this.channelOptions = Object.freeze({
      // Servers of the mesh report their load to us in a shorter form than to others.
      'grpc.primary_user_agent': GRPC_AGENT,
      // The mesh retries.
      'grpc.enable_retries': 0,
      // grpc-js buffers the first MiB of a call regardless and reports each message in it as sent
      // at once. A source that always has more would block our loop until then.
      'grpc.per_rpc_retry_buffer_size': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
      // A connection belongs to one endpoint and one identity.
      'grpc.use_local_subchannel_pool': 1,
      // Channelz costs 8 kB per channel.
      'grpc.enable_channelz': 0,
      'grpc.keepalive_time_ms': this.settings.keepaliveMs,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.client_idle_timeout_ms': IDLE_MS,
    })
    this.#pools = new PoolSet(this.clock, parts.identity, this.settings.rotationSpreadMs)
  }

  /** The pool of `endpoint`, made on first use. */
  poolOf(endpoint: Endpoint): GrpcPool {
    const kept = endpoint.transport
    if (kept instanceof GrpcPool) return kept
    const pool = new GrpcPool(this, endpoint)
    endpoint.transport = pool
    return pool
  }

  prefer(service: string, preference: TransportPreference | undefined): void {
    this.preferences.set(service, preference)
  }

  /** A probe that asks the standard health service. */
  probe(): Probe {
    return grpcHealth(this)
  }

  /** The largest message in bytes that a connection to `service` accepts. */
  largestMessage(service: string): number {
    return this.#largest.get(service) ?? LARGEST_MESSAGE
  }

  /**
   * A client of `service` accepts messages of up to `bytes`. Connections made for less are
   * replaced.
   */
  takeMessages(service: string, bytes: number): void {
    if (bytes > this.largestMessage(service)) this.#largest.set(service, bytes)
  }

  /** `pool` has connections until {@link GrpcTransport.emptied}. */
  opened(pool: GrpcPool): void {
    this.#pools.add(pool)
  }

  emptied(pool: GrpcPool): void {
    this.#pools.delete(pool)
  }

  /** Open connections. */
  get connections(): number {
    return this.#pools.connections
  }

  /** Closes all pools. Calls in flight have `graceMs` to finish. */
  close(graceMs: number): void {
    this.closed = true
    this.#pools.close(graceMs)
  }
}
