/**
 * One HTTP/1.1 connection on an open and verified socket, on which an undici client speaks. The
 * client never reconnects, so a dead socket is a dead connection.
 *
 * - idle -> busy: assigned to an attempt
 * - busy -> idle: the response is complete
 * - idle, busy -> closed: the socket closed
 */
import type { Socket } from 'node:net'
import type { Client, Dispatcher } from 'undici'
import { HTTP1 } from '../../core/transport.ts'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { refusedByAlert } from '../certificate-alert.ts'
import type { ConnectSpan } from '../connect-span.ts'
import type { Dial, DialSetup } from '../dial.ts'
import { retirementOf, type ShownCertificate } from '../peer-end.ts'
import { CONNECTION_LOST, type ConnectionUser } from './connection-user.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { HttpTransportSettings } from './transport-options.ts'
import type { Undici } from './undici.ts'

/**
 * Without a server's hint: below Node's default of 5 s, so that we close first. With a hint, undici
 * stays 2 s below it.
 */
const KEEP_ALIVE_MS = 4_000
/** A longer hint of a server is capped. */
const LONGEST_KEEP_ALIVE_MS = 600_000

/** What all connections of a mesh share. */
export interface ConnectionSetup extends DialSetup {
  readonly settings: HttpTransportSettings
  readonly undici: Undici
  /** Hides a dispatch from other instrumentations of undici. */
  readonly suppressed: Suppressed | undefined
}

/** Runs `dispatch` where no other instrumentation traces it. */
export type Suppressed = (dispatch: () => boolean) => boolean

/** Owns a connection and is notified of its end. */
export interface ConnectionOwner {
  readonly endpoint: { readonly label: string }
  closed(connection: PooledConnection): void
}

export class HttpConnection implements PooledConnection {
  readonly transport = HTTP1
  readonly shared = false
  readonly strained = false
  readonly silent = false
  readonly hesitant = false
  retireAt: number
  endsAt: number
  readonly peer: ShownCertificate | undefined
  idleSince = 0
  user: ConnectionUser | undefined = undefined
  readonly #owner: ConnectionOwner
  readonly #setup: ConnectionSetup
  readonly #dial: Dial
  readonly #socket: Socket
  #client: Client | undefined = undefined
  #handedOver = false
  #parked = false

  /** On the socket of `dial`, which its peer uses for HTTP/1.1. */
  constructor(owner: ConnectionOwner, setup: ConnectionSetup, dial: Dial) {
    this.#owner = owner
    this.#setup = setup
    this.#dial = dial
    this.#socket = dial.socket
    this.peer = dial.peer
    this.endsAt = dial.peer?.endsAt ?? Number.POSITIVE_INFINITY
    this.retireAt = Math.min(dial.retireAt, retirementOf(this.endsAt, setup.clock))
    this.#socket.on('error', (error) => {
      const refusal = refusedByAlert(error)
      if (refusal !== undefined) dial.report(refusal)
    })
    this.#socket.on('close', () => owner.closed(this))
    dial.established()
  }

  get connecting(): ConnectSpan {
    return this.#dial.connecting
  }

  get room(): number {
    return this.user === undefined ? 1 : 0
  }

  get running(): number {
    return this.user === undefined ? 0 : 1
  }

  /** Whether a request may be written on it. */
  get usable(): boolean {
    return !this.#socket.destroyed
  }

  /** The peer broke the connection off rather than ending it. */
  get brokenOff(): boolean {
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

  /** Once undici has finished the response that has just ended. */
  finish(): void {
    this.retireAt = 0
    if (this.user === undefined) setImmediate(close, this)
  }

  /** Closes it at once, whatever runs on it. */
  close(): void {
    this.#socket.destroy()
  }

  giveBackUnread(now: number): number {
    return this.user?.giveBackUnread?.(now) === true ? 1 : 0
  }

  tick(): void {
    // The kernel asks a silent peer for a sign of life.
  }

  readonly #destroy = (): void => {
    this.#socket.destroy()
  }

  /** Closes it at once, because of its peer. */
  cut(cause: Error): void {
    this.#socket.destroy(cause)
  }

  /** The server rejected our certificate. */
  refusedUs(cause: unknown): void {
    this.#dial.report(cause as IdentityRefusal)
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

function close(connection: HttpConnection): void {
  connection.close()
}
