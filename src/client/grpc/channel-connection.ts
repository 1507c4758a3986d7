/**
 * One HTTP/2 connection: a grpc-js channel with the mesh's identity, and without grpc-js's retries
 * and balancing. A lost one is replaced, because a channel answers from its own backoff while it
 * reconnects.
 */
import { isIP } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { ErrorCode } from '../../core/errors.ts'
import { HTTP2, type TransportName } from '../../core/transport.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, refusalOfText, rejection } from '../../identity/tls-options.ts'
import { checkName, refuseEndpoint } from '../checked-lookup.ts'
import { ConnectSpan } from '../connect-span.ts'
import { ConnectTimer } from '../connect-timer.ts'
import { certificateOf, retirementOf, type ShownCertificate } from '../peer-end.ts'
import type { CallHead, CallOwner, GrpcConnection, GrpcConnectionOwner, GrpcConnectionSetup } from './connection.ts'
import type { CarriedCall } from './grpc-js.ts'
import { fillMetadata } from './headers.ts'
import { lastError } from './internals.ts'
import { GrpcSession, type SessionOwner } from './session.ts'

/** grpc-js's numbers (`connectivityState`). */
const READY = 2
const TRANSIENT_FAILURE = 3
const SHUTDOWN = 4

export class ChannelConnection implements GrpcConnection, SessionOwner {
  connecting: ConnectSpan
  readonly #channel: grpc.Channel
  retireAt = Number.POSITIVE_INFINITY
  endsAt = Number.POSITIVE_INFINITY
  peer: ShownCertificate | undefined
  readonly largestMessage: number
  heardAt = 0
  silences = 0
  /** Calls in flight on it, including health checks. */
  #running = 0
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
    this.connecting = new ConnectSpan(setup.clock.now())
    const { address, port, tls, service, label } = owner.endpoint
    this.#timer = new ConnectTimer(setup.clock, setup.settings.connectTimeoutMs, label, this)
    this.#named = isIP(address) === 0
    const scheme = this.#named ? 'dns' : address.includes(':') ? 'ipv6' : 'ipv4'
    const target = `${scheme}:${scheme === 'ipv6' ? `[${address}]` : address}:${port}`
    this.largestMessage = setup.largestMessage(service)
    this.#channel = new setup.grpc.Channel(target, tls ? this.#credentials() : setup.insecure, {
      ...setup.channelOptions,
      'grpc.max_receive_message_length': this.largestMessage,
      'grpc.default_authority': service,
      'grpc.ssl_target_name_override': service,
    })
    this.#session = new GrpcSession(this.#channel, setup.clock, this)
  }

  get transport(): TransportName | undefined {
    return this.#stood ? HTTP2 : undefined
  }

  get ready(): boolean {
    return this.#stood && this.#channel.getConnectivityState(false) === READY
  }

  /** Node would queue a stream beyond the peer's limit, and we could not tell it was not sent. */
  get hasRoom(): boolean {
    return this.#session.streams.hasRoom
  }

  wantRoom(): void {
    this.#session.streams.want()
  }

  take(): void {
    this.#running += 1
    this.#session.streams.begun()
  }

  get lost(): boolean {
    return this.#stood && !this.ready
  }

  dial(): void {
    if (this.#dialing) return
    this.#dialing = true
    this.connecting = new ConnectSpan(this.#setup.clock.now())
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
    this.#channel.getConnectivityState(true)
    this.#watch()
  }

  /** Its address, before or after the lookup, is not allowed. */
  #stray(cause: Error): void {
    if (this.#closed || !this.#dialing) return
    this.#dialing = false
    this.#timer.stop()
    this.#owner.failed(this, 'connect-failed', cause)
  }

  heard(now: number): void {
    this.heardAt = now
    this.silences = 0
  }

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

  retire(): void {
    this.retireAt = 0
    if (this.#running === 0) this.close()
  }

  release(reset: boolean): void {
    this.#running -= 1
    this.#session.streams.ended(reset)
    if (this.#running === 0 && this.retireAt === 0) this.close()
    else if (this.#owner.waiting > 0) this.#owner.freed(this)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer.stop()
    this.#channel.close()
    this.#session.close()
    this.#owner.closed(this)
  }

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
    this.connecting.ready(this.heardAt)
    this.#stood = true
    if (this.ready) this.#owner.dialed(this, true)
    else this.#owner.lost(this, 'connect-failed', 'the connection was lost')
  }

  begin({ path, authority, metadata, attempt, deadlineAt, now }: CallHead, owner: CallOwner): CarriedCall {
    const inner = this.#channel.createCall(path, Number.POSITIVE_INFINITY, authority, null, 0)
    const own = new this.#setup.OwnMetadata()
    own.owner = owner
    own.connection = this
    fillMetadata(own, attempt, metadata, deadlineAt, now)
    inner.start(own, owner)
    return inner
  }

  /** Its session needs no sweep. */
  sweep(): void {}

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
    this.#owner.failed(this, 'connect-failed', error)
  }

  #watch(): void {
    if (this.#closed || !this.#dialing) return
    const state = this.#channel.getConnectivityState(false)
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
    } else this.#channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch())
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

function connect(connection: ChannelConnection): void {
  connection.connect()
}

function stands(connection: ChannelConnection): void {
  connection.stands()
}
