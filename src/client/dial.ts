/**
 * Opens one connection to an endpoint and verifies its peer. What is spoken on it is up to the
 * owner: with TLS the peer chooses from the owner's offers.
 *
 * - opening -> open: connected, verified and handed to the owner
 * - open -> established: the owner needs no more of the peer
 * - opening -> opening: not by the Unix socket of the endpoint, so by its address
 * - opening, open -> failed: refused, or not established in time
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  connect as connectPlain,
  type LookupFunction,
  type NetConnectOpts,
  type OnReadOpts,
  type Socket,
} from 'node:net'
import { type ConnectionOptions, connect as connectSecure } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { ErrorCode } from '../core/errors.ts'
import { MUX } from '../core/transport.ts'
import type { RefusedPeer } from '../identity/peer-verifier.ts'
import { clientTlsOptions, refusalOf, rejection, verifyServer } from '../identity/tls-options.ts'
import type { IdentityRefusal } from '../net/identity-refusal.ts'
import type { LocalDirectory } from '../net/local-directory.ts'
import { refusedByAlert } from './certificate-alert.ts'
import { refuseEndpoint } from './checked-lookup.ts'
import type { ClientIdentity } from './client-identity.ts'
import { ConnectSpan } from './connect-span.ts'
import { ConnectTimer } from './connect-timer.ts'
import { certificateOf, type ShownCertificate } from './peer-end.ts'

/** The kernel's idle probes find a peer that vanished without closing. */
const TCP_KEEP_ALIVE_MS = 10_000

/**
 * All connections read into it: what is read is consumed or copied before the next read. It has the
 * size of the largest read of libuv.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(65_536)

/** A connection outlives the call that opened it, and serves others. */
const inNoContext = AsyncLocalStorage.snapshot()

export interface DialFailure {
  readonly code: ErrorCode
  /** It timed out, rather than being refused. */
  readonly late: boolean
  readonly cause: unknown
  /** The peer agreed to what was offered, or had announced it, and did not speak it. */
  readonly wrongTransport?: boolean
}

/** What all connections of a mesh share. */
export interface DialSetup {
  readonly clock: Clock
  readonly settings: { readonly connectTimeoutMs: number }
  readonly identity: ClientIdentity | undefined
  readonly lookup: LookupFunction
  readonly loopbackAllowed: boolean
  /** Of Unix sockets. @defaultValue none are used */
  readonly localDirectory?: LocalDirectory | undefined
  /** An endpoint showed a certificate that failed verification. Nothing was sent to it. */
  readonly onPeerRefused: ((refused: RefusedPeer, endpoint: Endpoint) => void) | undefined
  /** An endpoint rejected our certificate. It executed nothing. */
  readonly onRefusedByPeer: ((reason: string, endpoint: Endpoint) => void) | undefined
}

/** A Unix socket that failed is tried again after this time. */
const LOCAL_RETRY_MS = 60_000

/** Is notified of the transitions, never synchronously. */
export interface DialOwner {
  readonly endpoint: Endpoint
  /**
   * Connected and verified. `chosen`: the offer that the peer took; `undefined` without TLS, and if
   * it knows no ALPN.
   */
  opened(dial: Dial, chosen: string | undefined): void
  /** It was never established. */
  failed(dial: Dial, failure: DialFailure): void
}

/** Takes what is read. The bytes are valid only during the call. */
export interface ByteReader {
  receive(bytes: Buffer): void
}

export class Dial {
  /** Another one until the owner is notified, if the Unix socket fails. */
  socket!: Socket
  /** What was offered, best first. */
  readonly offers: readonly string[]
  /** Instant from which the connection takes no calls: a rotation may come while it is opened. */
  retireAt = Number.POSITIVE_INFINITY
  peer: ShownCertificate | undefined = undefined
  /** Takes all that is read; `undefined`: the stream of the socket does. */
  reader: ByteReader | undefined = undefined
  readonly connecting: ConnectSpan
  readonly #owner: DialOwner
  readonly #setup: DialSetup
  readonly #timer: ConnectTimer
  #opened = false
  #established = false
  #failure: DialFailure | undefined = undefined
  #local = false
  /** By the owner, or for lack of time. */
  #givenUp = false

  /** `offers`: by ALPN, best first. */
  constructor(owner: DialOwner, setup: DialSetup, offers: readonly string[]) {
    this.#owner = owner
    this.#setup = setup
    this.offers = offers
    this.connecting = new ConnectSpan(setup.clock.now())
    this.#timer = new ConnectTimer(setup.clock, setup.settings.connectTimeoutMs, owner.endpoint.label, this)
    this.#timer.start()
    this.#connect(localPath(owner.endpoint, setup))
  }

  /** `path`: of the endpoint's Unix socket. */
  #connect(path: string | undefined): void {
    const { endpoint } = this.#owner
    const { address } = endpoint
    this.#local = path !== undefined
    this.socket = inNoContext(open, this, endpoint, this.#setup, path)
    this.socket.on('error', this.#fail)
    this.socket.on('close', this.#closed)
    // A literal is not looked up.
    const refused = refuseEndpoint(address, address, this.#setup.loopbackAllowed)
    if (refused !== undefined) this.socket.destroy(refused)
  }

  /** The owner has all that it needs of the peer; the socket's events are its own from now on. */
  established(): void {
    this.#established = true
    this.connecting.ready(this.#setup.clock.now())
    this.#timer.stop()
    this.socket.off('error', this.#fail)
    this.socket.off('close', this.#closed)
  }

  /** Fails it for the reason that the owner has found. */
  fail(failure: DialFailure): void {
    this.#givenUp = true
    this.#failure ??= failure
    this.socket.destroy()
  }

  close(): void {
    this.#givenUp = true
    this.socket.destroy()
  }

  cut(cause: Error): void {
    this.#givenUp = true
    this.socket.destroy(cause)
  }

  /** @internal */
  tooSlow(cause: Error): void {
    this.fail({ code: 'connect-failed', late: true, cause })
  }

  /** @internal */
  open(chosen: string | false | null | undefined): void {
    if (this.socket.destroyed) return
    this.#opened = true
    this.peer = certificateOf(this.socket)
    this.#owner.opened(this, typeof chosen === 'string' ? chosen : undefined)
  }

  /** @internal */
  get reading(): OnReadOpts {
    return {
      buffer: READ_BUFFER,
      callback: (length, bytes) => {
        const read = bytes as Buffer
        if (this.reader === undefined) return this.socket.push(Buffer.from(read.subarray(0, length)))
        this.reader.receive(read.subarray(0, length))
        return true
      },
    }
  }

  /** Reports that the peer rejects our certificate. */
  report({ reason }: IdentityRefusal): void {
    this.#setup.onRefusedByPeer?.(reason, this.#owner.endpoint)
  }

  /** The peer rejects our certificate: reports it and closes. */
  rejected(refusal: IdentityRefusal): void {
    this.report(refusal)
    this.fail({ code: 'identity-rejected', late: false, cause: refusal })
  }

  readonly #fail = (error: Error): void => {
    if (this.#failure === undefined) this.#failure = this.#failureOf(error)
  }

  #failureOf(error: Error): DialFailure {
    const { endpoint } = this.#owner
    const rejected = refusedByAlert(error)
    if (rejected !== undefined) {
      this.report(rejected)
      return { code: 'identity-rejected', late: false, cause: rejected }
    }
    const refused = refusalOf(error)
    if (refused === undefined) return { code: 'connect-failed', late: false, cause: error }
    this.#setup.onPeerRefused?.(refused, endpoint)
    return { code: 'identity-rejected', late: false, cause: rejection(refused, endpoint.service, endpoint.label) }
  }

  readonly #closed = (): void => {
    if (this.#local && !this.#opened && !this.#givenUp) {
      this.#failure = undefined
      this.#owner.endpoint.localUntil = this.#setup.clock.now() + LOCAL_RETRY_MS
      this.#connect(undefined)
      return
    }
    this.#timer.stop()
    if (this.#established) return
    const failure = this.#failure ?? CLOSED
    const wrongTransport = this.#opened && failure.code === 'connect-failed' && !failure.late
    this.#owner.failed(this, wrongTransport ? { ...failure, wrongTransport } : failure)
  }
}

const CLOSED: DialFailure = Object.freeze({
  code: 'connect-failed',
  late: false,
  cause: new Error('the connection closed before it was established'),
})

/** Of the endpoint's Unix socket, if there is one for us. */
function localPath({ local, localUntil }: Endpoint, { clock, localDirectory }: DialSetup): string | undefined {
  if (local === undefined || localDirectory === undefined || clock.now() < localUntil) return undefined
  return localDirectory.find(local)
}

function open(dial: Dial, endpoint: Endpoint, { lookup, identity }: DialSetup, path: string | undefined): Socket {
  const { address: host, port, tls, service, label } = endpoint
  const basics = {
    ...(path === undefined ? { host, port, lookup } : { path }),
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    // Only a session can do without a stream.
    ...(dial.offers.includes(MUX) && { onread: dial.reading }),
  }
  if (!tls || identity === undefined) {
    const socket = connectPlain(basics as NetConnectOpts)
    return socket.once('connect', () => dial.open(undefined))
  }
  const options = clientTlsOptions(identity.source.current, identity.verifier, { service }, dial.offers)
  const { leapt } = identity.verifier
  if (leapt) options.rejectUnauthorized = false
  const socket = connectSecure({ ...options, ...basics } as ConnectionOptions)
  return socket.once('secureConnect', () => {
    const verdict = leapt ? verifyServer(socket, identity.verifier, service) : undefined
    if (verdict?.ok === false) socket.destroy(rejection(verdict, service, label))
    else dial.open(socket.alpnProtocol)
  })
}
