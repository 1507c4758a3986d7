/**
 * One HTTP/1.1 connection: we open and verify the socket, and an undici client speaks on it. The
 * client never reconnects, so a dead socket is a dead connection.
 *
 * - dialing -> idle: connected and verified
 * - dialing -> closed: failed, or timed out
 * - idle -> busy: assigned to an attempt
 * - busy -> idle: the response is complete
 * - idle, busy -> closed: the socket closed
 */
import { connect as connectPlain, type LookupFunction, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecure } from 'node:tls'
import type { Client, Dispatcher } from 'undici'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, rejection, verifyServer } from '../../identity/tls-options.ts'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { refuseEndpoint } from '../checked-lookup.ts'
import type { ClientIdentity } from '../client-identity.ts'
import { ConnectTimer } from '../connect-timer.ts'
import { certificateOf, retirementOf, type ShownCertificate } from '../peer-end.ts'
import { CONNECTION_LOST, type ConnectionUser, type RequestConnection } from './connection-user.ts'
import { refusedByAlert } from './outcome.ts'
import type { HttpTransportSettings } from './transport-options.ts'
import type { Undici } from './undici.ts'

/**
 * Without a server's hint: below Node's default of 5 s, so that we close first. With a hint, undici
 * stays 2 s below it.
 */
const KEEP_ALIVE_MS = 4_000
/** A longer hint of a server is capped. */
const LONGEST_KEEP_ALIVE_MS = 600_000
/** The kernel's idle probes find a peer that vanished without closing. */
const TCP_KEEP_ALIVE_MS = 10_000

export interface DialFailure {
  readonly code: ErrorCode
  /** It timed out, rather than being refused. */
  readonly late: boolean
  readonly cause: unknown
}

/** What all connections of a mesh share. */
export interface ConnectionSetup {
  readonly clock: Clock
  readonly settings: HttpTransportSettings
  readonly undici: Undici
  readonly identity: ClientIdentity | undefined
  readonly lookup: LookupFunction
  readonly loopbackAllowed: boolean
  /** Hides a dispatch from other instrumentations of undici. */
  readonly suppressed: Suppressed | undefined
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint rejected our certificate. It executed nothing. */
  readonly onRefusedByPeer: ((reason: string, endpoint: Endpoint) => void) | undefined
}

/** Runs `dispatch` where no other instrumentation traces it. */
export type Suppressed = (dispatch: () => boolean) => boolean

/** Owns a connection and is notified of its transitions. */
export interface ConnectionOwner {
  readonly endpoint: Endpoint
  /** It is established and verified. */
  connected(connection: HttpConnection): void
  /** It is closed. `failure`: it was never established. */
  closed(connection: HttpConnection, failure: DialFailure | undefined): void
}

export class HttpConnection implements RequestConnection {
  /** Instant from which it takes no calls; `Infinity` until its identity is replaced. */
  retireAt = Number.POSITIVE_INFINITY
  /** When the peer's certificate expires, wall clock. */
  endsAt = Number.POSITIVE_INFINITY
  peer: ShownCertificate | undefined = undefined
  idleSince = 0
  /** Its request is on the connection. */
  user: ConnectionUser | undefined = undefined
  readonly #owner: ConnectionOwner
  readonly #setup: ConnectionSetup
  readonly #socket: Socket
  readonly #timer: ConnectTimer
  #client: Client | undefined = undefined
  #connected = false
  #handedOver = false
  #parked = false
  #failure: DialFailure | undefined = undefined

  /** Opens it. The owner hears of success or failure later, never synchronously. */
  constructor(owner: ConnectionOwner, setup: ConnectionSetup) {
    this.#owner = owner
    this.#setup = setup
    const { address: host, port, tls, service } = owner.endpoint
    const { lookup, loopbackAllowed } = setup
    const basics = { host, port, lookup, noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS }
    const identity = setup.identity
    if (tls && identity !== undefined) {
      const options = clientTlsOptions(identity.source.current, identity.verifier, { service }, ['http/1.1'])
      const { leapt } = identity.verifier
      if (leapt) options.rejectUnauthorized = false
      const socket = connectSecure({ ...options, ...basics } as ConnectionOptions)
      this.#socket = socket
      socket.once('secureConnect', () => {
        const verdict = leapt ? verifyServer(socket, identity.verifier, service) : undefined
        if (verdict?.ok === false) socket.destroy(rejection(verdict, service, owner.endpoint.label))
        else this.#succeed()
      })
    } else {
      this.#socket = connectPlain(basics)
      this.#socket.once('connect', () => this.#succeed())
    }
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#closed())
    this.#timer = new ConnectTimer(setup.clock, setup.settings.connectTimeoutMs, owner.endpoint.label, this)
    this.#timer.start()
    // A literal is not looked up.
    const refused = refuseEndpoint(host, host, loopbackAllowed)
    if (refused !== undefined) this.#socket.destroy(refused)
  }

  /** Whether a request may be written on it. */
  get usable(): boolean {
    return this.#connected && !this.#socket.destroyed
  }

  /** The peer broke the connection off rather than ending it. */
  get broken(): boolean {
    return this.#socket.errored !== null && this.#socket.errored !== undefined
  }

  /**
   * Keeps it idle: it notices when the peer closes it, and does not keep the process alive.
   */
  park(now: number): void {
    this.idleSince = now
    // Once undici has the socket, it does both.
    if (this.#client !== undefined) return
    this.#parked = true
    this.#socket.on('data', this.#destroy)
    this.#socket.on('end', this.#destroy)
    this.#socket.unref()
  }

  /** Starts one request. The handler receives everything that follows. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.#client === undefined) {
      if (this.#parked) {
        this.#socket.off('data', this.#destroy)
        this.#socket.off('end', this.#destroy)
        this.#socket.pause()
        this.#socket.ref()
      }
      this.#client = this.#makeClient()
    }
    const client = this.#client
    const { suppressed } = this.#setup
    if (suppressed === undefined) client.dispatch(options, handler)
    else suppressed(() => client.dispatch(options, handler))
  }

  /** Closes it at once, whatever runs on it. */
  close(): void {
    this.#socket.destroy()
  }

  tooSlow(cause: Error): void {
    this.#failure = { code: 'connect-failed', late: true, cause }
    this.#socket.destroy()
  }

  readonly #destroy = (): void => {
    this.#socket.destroy()
  }

  /** Closes it at once, because of its peer. */
  cut(cause: Error): void {
    this.#socket.destroy(cause)
  }

  #succeed(): void {
    this.#timer.stop()
    this.#connected = true
    this.peer = certificateOf(this.#socket)
    this.endsAt = this.peer?.endsAt ?? Number.POSITIVE_INFINITY
    this.retireAt = Math.min(this.retireAt, retirementOf(this.endsAt, this.#setup.clock))
    this.#owner.connected(this)
  }

  /** The server rejected our certificate. */
  refusedUs(cause: unknown): void {
    this.#setup.onRefusedByPeer?.((cause as IdentityRefusal).reason, this.#owner.endpoint)
  }

  #fail(error: Error): void {
    if (this.#connected) {
      const refusal = refusedByAlert(error)
      if (refusal !== undefined) this.refusedUs(refusal)
      return
    }
    if (this.#failure !== undefined) return
    const refused = refusalOf(error)
    if (refused !== undefined) this.#setup.onPeerRefused?.(refused, this.#owner.endpoint)
    this.#failure =
      refused === undefined
        ? { code: 'connect-failed', late: false, cause: error }
        : {
            code: 'identity-rejected',
            late: false,
            cause: rejection(refused, this.#owner.endpoint.service, this.#owner.endpoint.label),
          }
  }

  #closed(): void {
    this.#timer.stop()
    const failure = this.#connected
      ? undefined
      : (this.#failure ?? { code: 'connect-failed', late: false, cause: CONNECTION_LOST })
    this.#owner.closed(this, failure)
  }

  #makeClient(): Client {
    // The origin is never resolved: the only socket is handed over below, encrypted or not.
    return new this.#setup.undici.Client(`http://${this.#owner.endpoint.label}`, {
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxResponseSize: -1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: LONGEST_KEEP_ALIVE_MS,
      connect: (_options, callback) => {
        if (this.#handedOver || this.#socket.destroyed) {
          queueMicrotask(() => callback(CONNECTION_LOST, null))
          return
        }
        this.#handedOver = true
        const handOver = (): void =>
          this.#socket.destroyed ? callback(CONNECTION_LOST, null) : callback(null, this.#socket)
        // After idling, one turn of the event loop shows whether the peer has closed it.
        if (this.#parked) setImmediate(handOver)
        else queueMicrotask(handOver)
      },
    })
  }
}
