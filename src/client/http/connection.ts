/**
 * One HTTP/1.1 connection: a socket that we open ourselves, with our own timer and our own check of
 * who answers, and the undici client that then speaks on it. The client never reconnects: a dead
 * socket is a dead connection.
 *
 * dialing -> idle: connected and verified · dialing -> closed: failed or too slow idle -> busy:
 * given an attempt · busy -> idle: the response is complete · idle, busy -> closed: the socket
 * closed
 */
import { connect as connectPlain, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecure } from 'node:tls'
import type { Client, Dispatcher } from 'undici'
import type { ErrorCode } from '../../core/errors.ts'
import { clientTlsOptions, judgeServer, refusalOf, rejection } from '../../identity/tls-options.ts'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { refuseEndpoint } from '../checked-lookup.ts'
import { ConnectTimer } from '../connect-timer.ts'
import { endOfPeer, retirementOf } from '../peer-end.ts'
import { refusedByAlert } from './outcome.ts'
import type { ConnectionUser, HttpPool } from './pool.ts'
import type { HttpTransport } from './transport.ts'

/**
 * Without a hint of the server: below Node's own 5 s, so that we close first. With a hint, undici
 * stays 2 s below it.
 */
const KEEP_ALIVE_MS = 4_000
/** A server's hint beyond this is not used. */
const LONGEST_KEEP_ALIVE_MS = 600_000
/** Idle probes of the kernel find a peer that vanished without a word (faults-and-attacks F9). */
const TCP_KEEP_ALIVE_MS = 10_000

/**
 * Why undici could not use a connection that closed before a request was written: nothing was sent,
 * take another.
 */
export const CONNECTION_LOST: Error = Object.freeze(
  Object.assign(new Error('the connection closed before use'), { code: 'GONE' }),
)

export interface DialFailure {
  readonly code: ErrorCode
  /** It was not refused, it took too long. */
  readonly late: boolean
  readonly cause: unknown
}

export class HttpConnection {
  /** Instant from which it is no longer used; `Infinity` until its identity was replaced. */
  retireAt = Number.POSITIVE_INFINITY
  /** Of the peer's certificate, wall clock. */
  endsAt = Number.POSITIVE_INFINITY
  idleSince = 0
  /** Whose request is on it. */
  user: ConnectionUser | undefined = undefined
  readonly #pool: HttpPool
  readonly #transport: HttpTransport
  readonly #socket: Socket
  readonly #timer: ConnectTimer
  #client: Client | undefined = undefined
  #connected = false
  #handedOver = false
  #parked = false
  #failure: DialFailure | undefined = undefined

  /** Opens it; the pool hears of success or failure later, never at once. */
  constructor(pool: HttpPool, transport: HttpTransport) {
    this.#pool = pool
    this.#transport = transport
    const { address: host, port, tls, service } = pool.endpoint
    const { lookup, loopbackAllowed } = transport
    const basics = { host, port, lookup, noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS }
    const identity = transport.identity
    if (tls && identity !== undefined) {
      const options = clientTlsOptions(identity.source.current, identity.verifier, { service }, ['http/1.1'])
      const { leapt } = identity.verifier
      if (leapt) options.rejectUnauthorized = false
      const socket = connectSecure({ ...options, ...basics } as ConnectionOptions)
      this.#socket = socket
      socket.once('secureConnect', () => {
        const verdict = leapt ? judgeServer(socket, identity.verifier, service) : undefined
        if (verdict?.ok === false) socket.destroy(rejection(verdict, service, pool.endpoint.label))
        else this.#succeed()
      })
    } else {
      this.#socket = connectPlain(basics)
      this.#socket.once('connect', () => this.#succeed())
    }
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#closed())
    this.#timer = new ConnectTimer(transport.clock, transport.settings.connectTimeoutMs, pool.endpoint.label, this)
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
   * Nobody waits for it: it must notice when the peer closes it, and must not keep the process
   * alive.
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

  /** Starts one request; the handler hears the rest. */
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
    const { suppressed } = this.#transport
    if (suppressed === undefined) client.dispatch(options, handler)
    else suppressed(() => client.dispatch(options, handler))
  }

  /** At once, whatever runs on it. */
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

  /** At once, because of its peer. */
  cut(cause: Error): void {
    this.#socket.destroy(cause)
  }

  #succeed(): void {
    this.#timer.stop()
    this.#connected = true
    this.endsAt = endOfPeer(this.#socket)
    this.retireAt = Math.min(this.retireAt, retirementOf(this.endsAt, this.#transport.clock))
    this.#pool.connected(this)
  }

  /** The server does not believe our certificate. */
  refusedUs(cause: unknown): void {
    this.#transport.onRefusedByPeer?.((cause as IdentityRefusal).reason, this.#pool.endpoint)
  }

  #fail(error: Error): void {
    if (this.#connected) {
      const refusal = refusedByAlert(error)
      if (refusal !== undefined) this.refusedUs(refusal)
      return
    }
    if (this.#failure !== undefined) return
    const refused = refusalOf(error)
    if (refused !== undefined) this.#transport.onPeerRefused?.(refused, this.#pool.endpoint)
    this.#failure =
      refused === undefined
        ? { code: 'connect-failed', late: false, cause: error }
        : {
            code: 'identity-rejected',
            late: false,
            cause: rejection(refused, this.#pool.endpoint.service, this.#pool.endpoint.label),
          }
  }

  #closed(): void {
    this.#timer.stop()
    const failure = this.#connected
      ? undefined
      : (this.#failure ?? { code: 'connect-failed', late: false, cause: CONNECTION_LOST })
    this.#pool.closed(this, failure)
  }

  #makeClient(): Client {
    // The origin is never resolved: the one socket there will ever be is handed over below,
    // encrypted or not.
    return new this.#transport.undici.Client(`http://${this.#pool.endpoint.label}`, {
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
        // After a time without use, one turn of the event loop shows whether the peer has closed it
        // meanwhile.
        if (this.#parked) setImmediate(handOver)
        else queueMicrotask(handOver)
      },
    })
  }
}
