/**
 * Listens on one port and verifies each peer, then hands the connection to the protocol agreed by
 * ALPN. It also rotates certificates and closes connections.
 */
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { LocalAddress } from '../core/endpoint.ts'
import { MeshError } from '../core/errors.ts'
import { MUX, type TransportName, type TransportPreference } from '../core/transport.ts'
import { type Identity, type IdentitySource, isSameMaterial } from '../identity/identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { HANDSHAKE_TIMEOUT_MS, refusalOf, serverTlsOptions, verifyPeer } from '../identity/tls-options.ts'
import type { LocalDirectory } from '../net/local-directory.ts'
import type { EventSink } from '../telemetry/events.ts'
import { CertificateExpiry } from './certificate-expiry.ts'
import type { Connection } from './connection.ts'
import { detectPreface, type Prefaced, TLS_PREFACE } from './detect-preface.ts'
import type { CallerIdentity } from './inbound-call.ts'
import { judgeCallers } from './judge-callers.ts'
import { LingeringClose } from './lingering-close.ts'
import { LocalListener, sayIfLocal } from './local-listener.ts'
import type { ServerMode } from './mode.ts'
import type { ServerProtocol } from './protocol.ts'

export interface AcceptorHost {
  readonly clock: Clock
  readonly events: EventSink
}

export interface AcceptorOwner extends AcceptorHost {
  /** Whether `inmesh/1` is offered. */
  readonly transport: TransportPreference
  /** Where it listens beside its port. */
  readonly localDirectory?: LocalDirectory | undefined
  /** The callers of these connections are denied: ends their calls. */
  denyCalls(connections: ReadonlySet<Connection>): void
}

export interface AcceptorSettings {
  readonly host: string
  readonly port: number
  readonly mode: ServerMode
  readonly headersTimeout: number
  readonly rotationGrace: number
  readonly maxConnections: number | undefined
}

/** TCP keepalive probes a silent peer after 15 s; the system's default is two hours. */
export const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 } as const

/** A certificate that TLS refuses reaches our verifier, so that the peer gets an answer. */
const ANSWERED = { admitStrangers: true } as const
/** At the end of a drain, connections that do not close are destroyed after this time. */
const CLOSE_MS = 500
/** From the answers to a denied caller to the end of its connection. */
const DISMISS_MS = 500
/** A connection retires when this share of its caller's certificate lifetime is left. */
const RETIRE_AT_SHARE_LEFT = 0.1

export class Acceptor {
  readonly #host: AcceptorOwner
  readonly #settings: AcceptorSettings
  readonly #protocols: readonly ServerProtocol[]
  readonly #identity: IdentitySource | undefined
  readonly #connections = new Map<Connection, ServerProtocol>()
  /** All accepted sockets, also during their handshake. */
  readonly #sockets = new Set<Socket>()
  readonly #lingering: LingeringClose
  readonly #expiry: CertificateExpiry
  #verifier: PeerVerifier | undefined
  #listening: NetServer | undefined
  #local: LocalListener | undefined
  #tls: TlsServer | undefined
  #stopRotation: (() => void) | undefined
  accepted = 0
  plaintext = 0
  refused = 0

  /**
   * `protocols`: the first speaks in plaintext. Without an identity, all connections are plaintext.
   */
  constructor(
    host: AcceptorOwner,
    settings: AcceptorSettings,
    protocols: readonly ServerProtocol[],
    identity: IdentitySource | undefined,
    verifier: PeerVerifier | undefined,
  ) {
    this.#host = host
    this.#settings = settings
    this.#protocols = protocols
    this.#identity = identity
    this.#verifier = verifier
    this.#lingering = new LingeringClose(host.clock)
    this.#expiry = new CertificateExpiry(host.clock, () => this.#connections.keys())
  }

  async listen(): Promise<void> {
    const { host, port } = this.#settings
    const server = this.#create()
    this.#listening = server
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => {
        this.#stopRotation?.()
        reject(error)
      }
      server.once('error', failed)
      server.listen({ host, port }, () => {
        server.off('error', failed)
        // Accepting may fail later, with too many open files; that must not end the process.
        server.on('error', ignore)
        resolve()
      })
    })
    const { localDirectory } = this.#host
    if (localDirectory === undefined) return
    this.#local = await LocalListener.open(localDirectory, server, server !== this.#tls)
    if (!server.listening) this.#local?.close()
  }

  /** Its Unix socket; `undefined`: there is none. */
  get local(): LocalAddress | undefined {
    return this.#local?.address
  }

  get address(): AddressInfo {
    const address = this.#listening?.address() ?? null
    if (address === null || typeof address === 'string') {
      throw new MeshError('The server does not listen any more.', { code: 'closed' })
    }
    return address
  }

  /** What it offers, best first. */
  get transports(): readonly TransportName[] {
    return this.#offered().map(({ alpn }) => alpn)
  }

  /** The owner's preference has changed. */
  offerChanged(): void {
    const offered = this.#offered()
    for (const [connection, protocol] of this.#connections) if (!offered.includes(protocol)) connection.retire(0)
  }

  get open(): number {
    return this.#sockets.size
  }

  /** Asks all clients to leave. New connections are still accepted. */
  retire(): void {
    for (const connection of this.#connections.keys()) connection.retire(0)
    for (const protocol of this.#protocols) protocol.retire()
  }

  stopAccepting(): void {
    if (this.#listening?.listening === true) this.#listening.close()
    this.#local?.close()
    for (const protocol of this.#protocols) protocol.stopAccepting()
  }

  /** Closes every connection after its answers have been sent. */
  async close(): Promise<void> {
    this.#stopRotation?.()
    this.#expiry.stop()
    for (const [connection, protocol] of this.#connections) protocol.endConnection(connection)
    await new Promise<void>((resolve) => {
      const timer = this.#host.clock.startTimer(CLOSE_MS, resolve, undefined)
      const check = (): void => {
        if (this.#sockets.size > 0) return
        this.#host.clock.stopTimer(timer)
        resolve()
      }
      for (const socket of this.#sockets) socket.once('close', check)
      check()
    })
    for (const socket of this.#sockets) socket.destroy()
    for (const protocol of this.#protocols) protocol.close()
  }

  #offered(): readonly ServerProtocol[] {
    const all = this.#protocols
    return this.#host.transport === 'auto' ? all : all.filter(({ alpn }) => alpn !== MUX)
  }

  #create(): NetServer {
    const { mode, maxConnections } = this.#settings
    const identity = this.#identity
    const tls = mode === 'plaintext' || identity === undefined ? undefined : this.#createTls(identity)
    const server = tls === undefined || mode === 'permissive' ? this.#createNet(tls) : tls
    if (maxConnections !== undefined) server.maxConnections = maxConnections
    server.on('connection', (socket: Socket) => this.#track(socket))
    server.on('drop', () =>
      this.#host.events.emit('admission:refused', { side: 'server', code: 'concurrency-limited' }),
    )
    server.on('listening', () => {
      for (const protocol of this.#protocols) protocol.listening()
    })
    return server
  }

  #createTls(identity: IdentitySource): TlsServer {
    const { clock } = this.#host
    this.#verifier ??= new PeerVerifier(clock, identity.current)
    const handshakeTimeout = Math.min(this.#settings.headersTimeout, HANDSHAKE_TIMEOUT_MS)
    const server = createTlsServer({
      ...serverTlsOptions(identity.current, ANSWERED),
      // For each handshake, because the offer may change. No answer ends it, as without a callback.
      // The client's order decides: ours ask for the best first, and gateways may want HTTP/2.
      ALPNCallback: ({ protocols }) => protocols.find((one) => this.transports.includes(one)),
      handshakeTimeout,
      ...SOCKET_OPTIONS,
    })
    server.on('secureConnection', (socket) => this.#acceptTls(socket))
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#reportRefusal(refusalOf(error, socket)?.reason ?? 'handshake-failed', socket)
      socket.destroy()
    })
    this.#tls = server
    let last = identity.current
    this.#stopRotation = identity.onRotate((next) => {
      const before = last
      last = next
      this.#rotate(before, next)
    })
    return server
  }

  /** Plaintext only, or both on one port if there is a `tls` server. */
  #createNet(tls: TlsServer | undefined): NetServer {
    const plaintext = this.#usual
    const otherwise = (socket: Socket): void => this.#acceptPlaintext(socket, plaintext)
    // A client that waits for its turn to speak TLS would not understand an answer.
    const silent = tls === undefined ? plaintext.silence : undefined
    const { headersTimeout } = this.#settings
    return createNetServer({ allowHalfOpen: true, ...SOCKET_OPTIONS }, (socket) => {
      const known = this.#prefaced(tls)
      if (known.length === 0) otherwise(socket)
      else detectPreface(socket, this.#host.clock, headersTimeout, known, otherwise, silent)
    })
  }

  /** The protocols that the first bytes of a connection may name now. */
  #prefaced(tls: TlsServer | undefined): Prefaced[] {
    const known: Prefaced[] = []
    for (const protocol of this.#offered()) {
      const { preface } = protocol
      if (preface !== undefined) {
        known.push({ preface, accept: (socket) => this.#acceptPlaintext(socket, protocol) })
      }
    }
    if (tls !== undefined) known.push({ preface: TLS_PREFACE, accept: (socket) => tls.emit('connection', socket) })
    return known
  }

  /** The protocol of peers that do not say what they speak. */
  get #usual(): ServerProtocol {
    return this.#protocols.find(({ preface }) => preface === undefined) ?? this.#protocols[0]!
  }

  #track(socket: Socket): void {
    this.accepted += 1
    this.#sockets.add(socket)
    // node:http removes its listener when it hands a socket over, so ours stays until the close.
    socket.on('error', ignore)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #acceptPlaintext(socket: Socket, protocol: ServerProtocol): void {
    this.plaintext += 1
    socket.allowHalfOpen = protocol.allowHalfOpen
    this.#accept(socket, protocol, undefined, Number.POSITIVE_INFINITY, protocol.retireAt)
  }

  /** No protocol parses a byte of a refused peer. */
  #acceptTls(socket: TLSSocket): void {
    const verdict = verifyPeer(socket, this.#verifier!)
    const protocol = this.#agreedProtocol(socket)
    if (!verdict.ok) {
      this.#reportRefusal(verdict.reason, socket)
      this.#lingering.close(socket, (protocol ?? this.#usual).refusal(verdict.reason))
      return
    }
    if (protocol === undefined) {
      if (socket.destroyed) return
      this.#reportRefusal('handshake-failed', socket)
      socket.destroy()
      return
    }
    const { clock } = this.#host
    const expiresAt = verdict.notAfter
    const leftMs = expiresAt - certificateTimeOf(clock).now()
    const retireAt = Math.min(protocol.retireAt, clock.now() + leftMs * (1 - RETIRE_AT_SHARE_LEFT))
    this.#accept(socket, protocol, verdict, expiresAt, retireAt)
  }

  #agreedProtocol({ alpnProtocol }: TLSSocket): ServerProtocol | undefined {
    return this.#protocols.find(({ alpn, withoutAlpn }) =>
      typeof alpnProtocol === 'string' ? alpn === alpnProtocol : withoutAlpn,
    )
  }

  #accept(
    socket: Socket,
    protocol: ServerProtocol,
    caller: CallerIdentity | undefined,
    expiresAt: number,
    retireAt: number,
  ): void {
    if (this.#local !== undefined) sayIfLocal(socket)
    const connection = protocol.createConnection(socket, caller, expiresAt, retireAt)
    connection.transport = protocol.alpn
    this.#connections.set(connection, protocol)
    // The offer may have changed during the handshake.
    if (!this.#offered().includes(protocol)) connection.retire(0)
    if (caller !== undefined) this.#expiry.watch()
    socket.on('error', ignore)
    socket.once('close', () => {
      this.#connections.delete(connection)
      protocol.connectionClosed(connection)
    })
    protocol.accept(connection)
  }

  /** Calls in flight are answered before their connections close. */
  #dismissDenied(): void {
    const denied = new Set<Connection>()
    for (const connection of this.#connections.keys()) {
      const { caller } = connection
      if (caller === undefined || connection.denied || !this.#verifier!.denies(caller.spiffeId)) continue
      connection.denied = true
      denied.add(connection)
    }
    if (denied.size === 0) return
    this.#host.denyCalls(denied)
    for (const connection of denied) {
      const { socket } = connection
      this.#reportRefusal('denied', socket)
      this.#connections.get(connection)!.dismiss(connection, 'denied')
      this.#host.clock.startBackgroundTimer(DISMISS_MS, destroy, socket)
    }
  }

  #reportRefusal(reason: string, socket: Socket): void {
    this.refused += 1
    const address = socket.remoteAddress
    this.#host.events.emit('peer:refused', { side: 'server', reason, ...(address !== undefined && { address }) })
  }

  /**
   * New connections use the new certificate and bundle at once. Existing ones are judged anew; they
   * leave over the grace period if our certificate is another, those of denied callers at once.
   */
  #rotate(last: Identity, next: Identity): void {
    this.#verifier!.setTrust(next)
    if (next.denied.length > 0) this.#dismissDenied()
    if (isSameMaterial(last, next)) return
    this.#tls!.setSecureContext(serverTlsOptions(next, ANSWERED))
    const { clock } = this.#host
    judgeCallers(this.#connections.keys(), this.#verifier!, clock, (reason, socket) =>
      this.#reportRefusal(reason, socket),
    )
    if (next.certificate === last.certificate) return
    const now = clock.now()
    for (const connection of this.#connections.keys()) {
      if (connection.caller !== undefined) connection.retire(now + clock.random() * this.#settings.rotationGrace)
    }
  }
}

function destroy(socket: Socket): void {
  socket.destroy()
}

function ignore(): void {}
