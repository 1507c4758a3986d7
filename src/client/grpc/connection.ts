/**
 * One HTTP/2 connection to a gRPC endpoint: a grpc-js channel with the mesh's identity, and without
 * grpc-js's retries and balancing. It is handed out once established and never redials: the pool
 * replaces a lost one, because a channel answers from its own backoff while it reconnects.
 *
 * dialing -> ready: established · dialing -> failed: refused or too slow
 * ready -> retired: replaced (rotation, silence, drain), or lost (GOAWAY, closed)
 */
import type { AsyncResource } from 'node:async_hooks'
import { isIP } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, refusalOfText, rejection } from '../../identity/tls-options.ts'
import { checkName, refuseEndpoint } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import { ConnectTimer } from '../connect-timer.ts'
import { certificateOf, retirementOf, type ShownCertificate } from '../peer-end.ts'
import type { Grpc } from './grpc-js.ts'
import { lastError } from './internals.ts'
import { GrpcSession, type SessionOwner } from './session.ts'
import type { GrpcTransportSettings } from './transport-options.ts'

/** grpc-js's numbers (`connectivityState`). */
const READY = 2
const TRANSIENT_FAILURE = 3
const SHUTDOWN = 4

/** What all gRPC connections of a mesh share. */
export interface GrpcConnectionSetup {
  readonly grpc: Grpc
  readonly clock: Clock
  readonly settings: GrpcTransportSettings
  readonly identity: ClientIdentity | undefined
  readonly insecure: grpc.ChannelCredentials
  readonly channelOptions: grpc.ChannelOptions
  /** The async context of connections, which outlive the call that opened them. */
  readonly context: AsyncResource
  readonly loopbackAllowed: boolean
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint rejected our certificate. It executed nothing. */
  readonly onRefusedByPeer: ((reason: string, endpoint: Endpoint) => void) | undefined
  /** The largest message in bytes that a connection to `service` accepts. */
  largestMessage(service: string): number
}

/** Owns a connection and is notified of its transitions. */
export interface GrpcConnectionOwner {
  readonly endpoint: Endpoint
  /** How many wait for room on it. */
  readonly waiting: number
  /** It takes one more stream than before. */
  freed(connection: GrpcConnection): void
  /** It is established, or has failed: then calls on it report the reason. */
  dialed(connection: GrpcConnection, ready: boolean): void
  /** It was not established in time, or leads to an address that is not allowed. */
  tooSlow(connection: GrpcConnection, cause: Error): void
  /** It takes no more calls, or is gone. Calls that waited for a stream on it were not sent. */
  lost(connection: GrpcConnection, code: ErrorCode, reason: string): void
  closed(connection: GrpcConnection): void
}

export class GrpcConnection implements SessionOwner {
  readonly channel: grpc.Channel
  /** Instant from which it takes no calls; `Infinity` until it must be replaced. */
  retireAt = Number.POSITIVE_INFINITY
  /** End of the peer's certificate, wall clock. */
  endsAt = Number.POSITIVE_INFINITY
  peer: ShownCertificate | undefined
  /** Largest received message in bytes. */
  readonly largestMessage: number
  /** Calls in flight on it, including health checks. */
  running = 0
  /** Instant of the last message from the peer. */
  heardAt = 0
  /** Consecutive attempts that timed out without any answer on the connection. */
  silences = 0
  readonly #owner: GrpcConnectionOwner
  readonly #setup: GrpcConnectionSetup
  readonly #timer: ConnectTimer
  #dialing = false
  readonly #named: boolean
  #refused: RefusedPeer | undefined
  #closed = false
  /** It has been established. */
  #stood = false
  readonly #session: GrpcSession

  constructor(owner: GrpcConnectionOwner, setup: GrpcConnectionSetup) {
    this.#owner = owner
    this.#setup = setup
    const { address, port, tls, service, label } = owner.endpoint
    this.#timer = new ConnectTimer(setup.clock, setup.settings.connectTimeoutMs, label, this)
    this.#named = isIP(address) === 0
    const scheme = this.#named ? 'dns' : address.includes(':') ? 'ipv6' : 'ipv4'
    const target = `${scheme}:${scheme === 'ipv6' ? `[${address}]` : address}:${port}`
    this.largestMessage = setup.largestMessage(service)
    this.channel = new setup.grpc.Channel(target, tls ? this.#credentials() : setup.insecure, {
      ...setup.channelOptions,
      'grpc.max_receive_message_length': this.largestMessage,
      'grpc.default_authority': service,
      'grpc.ssl_target_name_override': service,
    })
    this.#session = new GrpcSession(this.channel, setup.clock, this)
  }

  get ready(): boolean {
    return this.#stood && this.channel.getConnectivityState(false) === READY
  }

  /**
   * Whether the peer accepts another stream. Node would queue one beyond its limit, and we could
   * not tell that it was never sent.
   */
  get hasRoom(): boolean {
    return this.#session.streams.hasRoom
  }

  /** A call waits for room. */
  wantRoom(): void {
    this.#session.streams.want()
  }

  /** A call begins on it. */
  take(): void {
    this.running += 1
    this.#session.streams.begun()
  }

  /** It was established, and is no longer. */
  get lost(): boolean {
    return this.#stood && !this.ready
  }

  /**
   * Connects. The owner hears of success or failure within the connect timeout.
   */
  dial(): void {
    if (this.#dialing) return
    this.#dialing = true
    this.#timer.start()
    // A connection outlives the call that opened it, and serves others.
    this.#setup.context.runInAsyncScope(connect, undefined, this)
  }

  /** @internal */
  connect(): void {
    const { address } = this.#owner.endpoint
    const { loopbackAllowed } = this.#setup
    if (this.#named) {
      checkName(address, loopbackAllowed).then(
        () => this.#connect(),
        (error: Error) => this.#stray(error),
      )
      return
    }
    const refused = refuseEndpoint(address, address, loopbackAllowed)
    if (refused === undefined) this.#connect()
    else process.nextTick(() => this.#stray(refused))
  }

  #connect(): void {
    if (this.#closed || !this.#dialing) return
    this.channel.getConnectivityState(true)
    this.#watch()
  }

  /** Its address, before or after the lookup, is not allowed. */
  #stray(cause: Error): void {
    if (this.#closed || !this.#dialing) return
    this.#dialing = false
    this.#timer.stop()
    this.#owner.tooSlow(this, cause)
  }

  /** Something came from the peer. */
  heard(now: number): void {
    this.heardAt = now
    this.silences = 0
  }

  /** Why a call on it was not sent. */
  failure(details: string): { readonly code: ErrorCode; readonly cause: Error } {
    const { endpoint } = this.#owner
    const refused = this.#refused ?? refusalOfText(details)
    if (refused === undefined) return { code: 'connect-failed', cause: new Error(lastError(details)) }
    if (this.#refused === undefined) {
      this.#refused = refused
      this.#setup.onPeerRefused?.(refused, endpoint)
    }
    return { code: 'identity-rejected', cause: rejection(refused, endpoint.service, endpoint.label) }
  }

  /** Takes no more calls; ends with the last that runs. */
  retire(): void {
    this.retireAt = 0
    if (this.running === 0) this.close()
  }

  /** A call on it has ended. `reset`: by us, before the peer had answered. */
  release(reset: boolean): void {
    this.running -= 1
    this.#session.streams.ended(reset)
    if (this.running === 0 && this.retireAt === 0) this.close()
    else if (this.#owner.waiting > 0) this.#owner.freed(this)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer.stop()
    this.channel.close()
    this.#session.close()
    this.#owner.closed(this)
  }

  /** Closes it at once. Calls in flight fail with a lost connection. */
  cut(cause: Error): void {
    this.#session.cut(cause)
  }

  /** It is established, and its session and the peer's limits are known. */
  stands(): void {
    if (this.#closed) return
    this.attend()
    // The name may resolve to another address than when it was checked.
    const { address } = this.#owner.endpoint
    const reached = this.#named ? this.#session.remoteAddress : undefined
    const refused = reached === undefined ? undefined : refuseEndpoint(address, reached, this.#setup.loopbackAllowed)
    if (refused !== undefined) {
      this.#stray(refused)
      return
    }
    this.peer = certificateOf(this.#session.socket)
    this.endsAt = this.peer?.endsAt ?? Number.POSITIVE_INFINITY
    this.retireAt = Math.min(this.retireAt, retirementOf(this.endsAt, this.#setup.clock))
    this.#dialing = false
    this.#stood = true
    if (this.ready) this.#owner.dialed(this, true)
    else this.#owner.lost(this, 'connect-failed', 'the connection was lost')
  }

  /** A stream begins, perhaps on a new session. */
  attend(): void {
    this.#session.attend()
  }

  roomFreed(): void {
    this.#owner.freed(this)
  }

  sessionLost(code: ErrorCode, reason: string): void {
    this.#owner.lost(this, code, reason)
  }

  certificateRejected(reason: string): void {
    this.#setup.onRefusedByPeer?.(reason, this.#owner.endpoint)
  }

  tooSlow(error: Error): void {
    this.#dialing = false
    this.#owner.tooSlow(this, error)
  }

  #watch(): void {
    if (this.#closed || !this.#dialing) return
    const state = this.channel.getConnectivityState(false)
    if (state === READY || state === TRANSIENT_FAILURE || state === SHUTDOWN) {
      this.#timer.stop()
      if (state === READY) {
        this.heardAt = this.#setup.clock.now()
        // grpc-js notifies us before it updates its state.
        process.nextTick(stands, this)
        return
      }
      this.#dialing = false
      this.#owner.dialed(this, false)
    } else this.channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch())
  }

  #credentials(): grpc.ChannelCredentials {
    const { grpc, identity } = this.#setup
    const { endpoint } = this.#owner
    const { source, verifier } = identity!
    const { secureContext, checkServerIdentity } = clientTlsOptions(source.current, verifier, {
      service: endpoint.service,
    })
    return grpc.credentials.createFromSecureContext(secureContext!, {
      checkServerIdentity: (host, certificate) => {
        const error = checkServerIdentity!(host, certificate)
        const refused = refusalOf(error)
        if (refused !== undefined) {
          this.#refused = refused
          this.#setup.onPeerRefused?.(refused, endpoint)
        }
        return error
      },
    })
  }
}

function connect(connection: GrpcConnection): void {
  connection.connect()
}

function stands(connection: GrpcConnection): void {
  connection.stands()
}
