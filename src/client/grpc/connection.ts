/**
 * One HTTP/2 connection to a gRPC endpoint: a grpc-js channel whose own retries, balancing and
 * metrics are off, with the mesh's identity. A channel would dial again by itself and answer from
 * its own backoff meanwhile, so a broken one is thrown away and the next is dialed when there is a
 * call for it. Calls are handed over only once it stands: before, they were certainly not sent.
 *
 * dialing -> ready: it stands · dialing -> failed: refused or too slow
 * ready -> retired: replaced (rotation, silence, drain), or lost (GOAWAY, closed)
 */
import type { ClientHttp2Session } from 'node:http2'
import { isIP, type Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import type { Timer } from '../../core/clock.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, refusalOfText, rejection } from '../../identity/tls-options.ts'
import { checkName, refuseEndpoint } from '../checked-lookup.ts'
import { ConnectTimer } from '../connect-timer.ts'
import { endOfPeer, retirementOf } from '../peer-end.ts'
import type { GrpcPool } from './pool.ts'
import { refusalIn, watchStreams } from './stream.ts'
import { StreamLimit } from './stream-limit.ts'
import type { GrpcTransport } from './transport.ts'

/** grpc-js's numbers (`connectivityState`). */
const READY = 2
const TRANSIENT_FAILURE = 3
const SHUTDOWN = 4
/** The longest wait for the peer to close its half: some round trips. */
const LAST_HALF_MS = 1_000

export class GrpcConnection {
  readonly channel: grpc.Channel
  /** Instant from which it takes no more calls; `Infinity` until it is to be replaced. */
  retireAt = Number.POSITIVE_INFINITY
  /** Of the peer's certificate, wall clock. */
  endsAt = Number.POSITIVE_INFINITY
  /** Of a received message. */
  readonly largestMessage: number
  /** Calls on it, health checks included. */
  running = 0
  /** Instant at which something last came from the peer. */
  heardAt = 0
  /** Attempts in a row that ran out of time while nothing at all was heard. */
  silences = 0
  readonly #pool: GrpcPool
  readonly #transport: GrpcTransport
  readonly #timer: ConnectTimer
  #dialing = false
  readonly #named: boolean
  #refused: RefusedPeer | undefined
  #closed = false
  #session: ClientHttp2Session | undefined
  /** Under the session, which hides it. */
  #socket: Socket | undefined
  #lastHalf: Timer | undefined
  #subchannel: Subchannel | undefined
  /** It stands, or did. */
  #stood = false
  readonly #streams: StreamLimit

  constructor(pool: GrpcPool, transport: GrpcTransport) {
    this.#pool = pool
    this.#transport = transport
    this.#streams = new StreamLimit(() => pool.freed(this))
    const { address, port, tls, service, label } = pool.endpoint
    this.#timer = new ConnectTimer(transport.clock, transport.settings.connectTimeoutMs, label, this)
    this.#named = isIP(address) === 0
    const scheme = this.#named ? 'dns' : address.includes(':') ? 'ipv6' : 'ipv4'
    const target = `${scheme}:${scheme === 'ipv6' ? `[${address}]` : address}:${port}`
    this.largestMessage = transport.largestMessage(service)
    this.channel = new transport.grpc.Channel(target, tls ? this.#credentials() : transport.insecure, {
      ...transport.channelOptions,
      'grpc.max_receive_message_length': this.largestMessage,
      'grpc.default_authority': service,
      'grpc.ssl_target_name_override': service,
    })
  }

  get ready(): boolean {
    return this.#stood && this.channel.getConnectivityState(false) === READY
  }

  /**
   * The peer takes one more stream. Beyond its limit Node would hold it back, and nobody could tell
   * that it was not sent.
   */
  get hasRoom(): boolean {
    return this.#streams.hasRoom
  }

  /** A call waits for room. */
  wantRoom(): void {
    this.#streams.want()
  }

  /** A call begins on it. */
  take(): void {
    this.running += 1
    this.#streams.begun()
  }

  /** It stood once, and does not any more. */
  get lost(): boolean {
    return this.#stood && !this.ready
  }

  /**
   * Sees to it that it stands, or has failed, within the time for connecting; the pool hears of it.
   */
  dial(): void {
    if (this.#dialing) return
    this.#dialing = true
    this.#timer.start()
    // What it begins outlives the call that asked for it first, and serves others.
    this.#transport.context.runInAsyncScope(connect, undefined, this)
  }

  /** @internal */
  connect(): void {
    const { address } = this.#pool.endpoint
    const { loopbackAllowed } = this.#transport
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

  /** It would lead, or has led, to where no call may go. */
  #stray(cause: Error): void {
    if (this.#closed || !this.#dialing) return
    this.#dialing = false
    this.#timer.stop()
    this.#pool.tooSlow(this, cause)
  }

  /** Something came from the peer. */
  heard(now: number): void {
    this.heardAt = now
    this.silences = 0
  }

  /** Why a call on it was not sent. */
  failure(details: string): { readonly code: ErrorCode; readonly cause: Error } {
    const { endpoint } = this.#pool
    const refused = this.#refused ?? refusalOfText(details)
    if (refused === undefined) return { code: 'connect-failed', cause: new Error(lastError(details)) }
    if (this.#refused === undefined) {
      this.#refused = refused
      this.#transport.onPeerRefused?.(refused, endpoint)
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
    this.#streams.ended(reset)
    if (this.running === 0 && this.retireAt === 0) this.close()
    else if (this.#pool.waiting > 0) this.#pool.freed(this)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer.stop()
    this.channel.close()
    // A stream that was cut while nobody read it would keep it open for ever. What was written
    // leaves first.
    if (this.#session !== undefined) setImmediate(destroy, this)
    this.#pool.closed(this)
  }

  /** At once, because of its peer: what runs on it has lost its connection. */
  cut(cause: Error): void {
    this.#socket?.destroy(cause)
  }

  /** @internal */
  destroy(): void {
    this.#session!.destroy()
    // Behind a GOAWAY, Node only ends our half; a peer that keeps its own would hold the socket for
    // ever.
    const socket = this.#socket!
    if (socket.destroyed) return
    this.#lastHalf = this.#transport.clock.startBackgroundTimer(LAST_HALF_MS, destroySocket, socket)
  }

  /** It stands, and its session is known, with the peer's limits. */
  stands(): void {
    if (this.#closed) return
    this.attend()
    // Since it was judged, the name may have come to mean something else.
    const { address } = this.#pool.endpoint
    const reached = this.#named ? this.#session?.socket?.remoteAddress : undefined
    const refused =
      reached === undefined ? undefined : refuseEndpoint(address, reached, this.#transport.loopbackAllowed)
    if (refused !== undefined) {
      this.#stray(refused)
      return
    }
    this.endsAt = endOfPeer(this.#socket)
    this.retireAt = Math.min(this.retireAt, retirementOf(this.endsAt, this.#transport.clock))
    this.#dialing = false
    this.#stood = true
    if (this.ready) this.#pool.dialed(this, true)
    else this.#pool.lost(this, 'connect-failed', 'the connection was lost')
  }

  /** Watches the session of today and its streams; cheap if it does already. */
  attend(): void {
    if (this.#session !== undefined && this.#subchannel?.transport?.session === this.#session) return
    // A later version may keep it elsewhere: then pings and streams beyond the peer's limit go on
    // as grpc-js has them, and no stream is known.
    const pool = (this.channel as unknown as Internals).internalChannel?.subchannelPool?.pool ?? {}
    for (const { subchannel } of Object.values(pool).flat()) {
      const transport = subchannel?.transport
      if (transport?.session === undefined || transport.session === this.#session) continue
      this.#subchannel = subchannel
      this.#session = transport.session
      this.#watchSession(transport, transport.session)
    }
  }

  #watchSession(transport: Http2Transport, session: ClientHttp2Session): void {
    watchStreams(session)
    // This returns the socket itself, which can be destroyed, unlike the session's stand-in for it.
    this.#socket = session.socket.once('close', () => {
      if (this.#lastHalf !== undefined) this.#transport.clock.stopTimer(this.#lastHalf)
    })
    this.#streams.watch(session)
    session.once('goaway', (_code, _lastStreamId, data) => {
      // Streams that had begun may still end on it, and its session is closed for all else: Node
      // lets no PING out, and grpc-js takes that for a peer that has gone and cuts them. So nobody
      // asks any more; that the peer bounds their time is on its side.
      transport.keepaliveTimeMs = -1
      const refusal = refusalIn(data)
      if (refusal === undefined) {
        this.#pool.lost(this, 'refused-by-peer', 'the peer takes no more calls on this connection (GOAWAY)')
        return
      }
      this.#transport.onRefusedByPeer?.(refusal, this.#pool.endpoint)
      this.#pool.lost(this, 'identity-rejected', `it refused our certificate (${refusal})`)
    })
    session.once('close', () => this.#pool.lost(this, 'connect-failed', 'the connection was lost'))
  }

  tooSlow(error: Error): void {
    this.#dialing = false
    this.#pool.tooSlow(this, error)
  }

  #watch(): void {
    if (this.#closed || !this.#dialing) return
    const state = this.channel.getConnectivityState(false)
    if (state === READY || state === TRANSIENT_FAILURE || state === SHUTDOWN) {
      this.#timer.stop()
      if (state === READY) {
        this.heardAt = this.#transport.clock.now()
        // grpc-js tells first, and then notes what it told of.
        process.nextTick(stands, this)
        return
      }
      this.#dialing = false
      this.#pool.dialed(this, false)
    } else this.channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch())
  }

  #credentials(): grpc.ChannelCredentials {
    const { grpc, identity } = this.#transport
    const { endpoint } = this.#pool
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
          this.#transport.onPeerRefused?.(refused, endpoint)
        }
        return error
      },
    })
  }
}

/**
 * What grpc-js keeps for itself: pinned by tests against the oldest and the newest version that we
 * take.
 */
interface Internals {
  readonly internalChannel?: {
    readonly subchannelPool?: {
      readonly pool?: Readonly<Record<string, readonly { readonly subchannel: Subchannel }[]>>
    }
  }
}

interface Subchannel {
  readonly transport: Http2Transport | null
}

interface Http2Transport {
  keepaliveTimeMs: number
  readonly session: ClientHttp2Session
}

function connect(connection: GrpcConnection): void {
  connection.connect()
}

function stands(connection: GrpcConnection): void {
  connection.stands()
}

function destroy(connection: GrpcConnection): void {
  connection.destroy()
}

function destroySocket(socket: Socket): void {
  socket.destroy()
}

const BEFORE_ERROR = 'Last error: '
const AFTER_ERROR = ' Resolution note:'

/** What happened, out of what grpc-js's balancer says around it. */
function lastError(details: string): string {
  const begin = details.indexOf(BEFORE_ERROR)
  const end = details.indexOf(AFTER_ERROR, begin)
  if (begin < 0 || end < 0) return details
  const error = details.slice(begin + BEFORE_ERROR.length, end).replace(/^Error: /, '')
  if (error === '' || /^null\b/.test(error)) return details
  return error.length > 1 && error.endsWith('.') ? error.slice(0, -1) : error
}
