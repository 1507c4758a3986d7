/**
 * Everything of a server below its protocol: it listens, tells TLS from plaintext, judges each peer
 * once, keeps the connections, and moves them to a new certificate. What it hands on has been
 * judged.
 */
import { type AddressInfo, createServer as createNetServer, Server as NetServer, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity, IdentitySource } from '../identity/identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { HANDSHAKE_TIMEOUT_MS, judgePeer, refusalOf, serverTlsOptions } from '../identity/tls-options.ts'
import type { EventSink } from '../telemetry/events.ts'
import { Connection } from './connection.ts'
import { detectTls } from './detect-tls.ts'
import { LingeringClose, type RefusalAnswer } from './lingering-close.ts'
import type { ServerMode } from './mode.ts'

/** What every acceptor works with and for. */
export interface AcceptorHost {
  readonly clock: Clock
  readonly events: EventSink
}

export interface AcceptorSettings {
  readonly host: string
  readonly port: number
  readonly mode: ServerMode
  readonly headersTimeout: number
  readonly rotationGrace: number
  readonly maxConnections: number | undefined
}

/** A TLS server of any kind: node:https has one, and so has node:tls. */
export type SecureServer = NetServer & { setSecureContext(options: object): void }

/**
 * TCP's own question whether a peer that is silent is still there: after 15 s, where the system's
 * default is two hours.
 */
export const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 } as const

/** Connections that do not end by themselves at the end of a drain are destroyed after so long. */
const CLOSE_MS = 500
/**
 * A connection is asked to leave when so much of its caller's certificate is left, so that it never
 * expires in use.
 */
const RETIRE_AT_SHARE_LEFT = 0.1
/** How often ended certificates are looked for, and how long an answer may take after the end. */
const EXPIRY_LOOK_MS = 1_000
const EXPIRED_GRACE_MS = 1_000

export abstract class Acceptor<Host extends AcceptorHost, Settings extends AcceptorSettings> {
  protected readonly host: Host
  protected readonly settings: Settings
  protected readonly connections = new Set<Connection>()
  readonly #identity: IdentitySource | undefined
  #verifier: PeerVerifier | undefined
  /** One of the two below, or what tells them apart; made when it is to listen. */
  #listening: NetServer | undefined
  #secure: SecureServer | undefined
  #plain: NetServer | undefined
  /** Everything accepted, also what is still shaking hands. */
  readonly #sockets = new Set<Socket>()
  readonly #farewells: LingeringClose
  #stopRotation: (() => void) | undefined
  #expiry: Timer | undefined
  accepted = 0
  plaintext = 0
  refused = 0

  /** Without an identity it speaks plaintext only. */
  constructor(
    host: Host,
    settings: Settings,
    identity: IdentitySource | undefined,
    verifier: PeerVerifier | undefined,
  ) {
    this.host = host
    this.settings = settings
    this.#identity = identity
    this.#verifier = verifier
    this.#farewells = new LingeringClose(host.clock)
  }

  /** What is spoken over TLS. */
  protected abstract get alpn(): string
  /** Servers of the protocol; they are never asked to listen where another does. */
  protected abstract createSecure(tls: object): SecureServer
  protected abstract createPlain(): NetServer
  /** Tells a peer that its certificate was refused and none of its requests executed. */
  protected abstract farewell(reason: string): RefusalAnswer
  /** A new connection, judged. */
  protected abstract admitted(connection: Connection): void
  /** It has closed. */
  protected abstract lost(connection: Connection): void
  /** Ends after what has been answered has left. */
  protected abstract end(connection: Connection): void
  /** Instant from which on a connection made now is asked to leave. */
  protected abstract get newRetireAt(): number
  /** From now on clients are asked to leave. */
  abstract retire(): void

  listen(): Promise<void> {
    const { host, port } = this.settings
    const listening = this.#create()
    this.#listening = listening
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        this.#stopRotation?.()
        reject(error)
      }
      listening.once('error', failed)
      listening.listen({ host, port }, () => {
        listening.off('error', failed)
        // Accepting may fail later (too many open files); that must not end the process.
        listening.on('error', () => {})
        resolve()
      })
    })
  }

  get address(): AddressInfo {
    const address = this.#listening?.address() ?? null
    if (address === null || typeof address === 'string') {
      throw new MeshError('The server does not listen any more.', { code: 'closed' })
    }
    return address
  }

  get open(): number {
    return this.#sockets.size
  }

  stopAccepting(): void {
    // Not that of node:http, which destroys idle connections at once, with requests on their way to
    // them (node#60617).
    if (this.#listening?.listening === true) NetServer.prototype.close.call(this.#listening)
  }

  /** Ends every connection after what has been answered has left. */
  async close(): Promise<void> {
    this.#stopRotation?.()
    if (this.#expiry !== undefined) this.host.clock.stopTimer(this.#expiry)
    for (const connection of this.connections) this.end(connection)
    await new Promise<void>((resolve) => {
      const timer = this.host.clock.startTimer(CLOSE_MS, resolve, undefined)
      const look = (): void => {
        if (this.#sockets.size > 0) return
        this.host.clock.stopTimer(timer)
        resolve()
      }
      for (const socket of this.#sockets) socket.once('close', look)
      look()
    })
    for (const socket of this.#sockets) socket.destroy()
    // Ends their housekeeping; they may not have been listening themselves.
    for (const inner of [this.#secure, this.#plain]) inner?.close(() => {})
  }

  #create(): NetServer {
    const { mode, maxConnections } = this.settings
    const { clock, events } = this.host
    const identity = this.#identity
    if (mode !== 'strict') this.#plain = this.#attendPlain(this.createPlain())
    if (mode !== 'plaintext' && identity !== undefined) {
      this.#verifier ??= new PeerVerifier(clock, identity.current)
      this.#secure = this.#attendSecure(this.createSecure(this.#handshake(identity.current)))
      this.#stopRotation = identity.onRotate((next) => this.#rotate(next))
    }
    const listening = mode === 'permissive' ? this.#createSplitter() : (this.#secure ?? this.#plain)!
    if (maxConnections !== undefined) listening.maxConnections = maxConnections
    listening.on('connection', (socket: Socket) => this.#track(socket))
    listening.on('drop', () => events.emit('admission:refused', { side: 'server', code: 'concurrency-limited' }))
    return listening
  }

  #tls(identity: Identity): object {
    // A certificate that TLS refuses comes to the judge, so that its owner gets an answer.
    return serverTlsOptions(identity, { alpnProtocols: [this.alpn], admitStrangers: true })
  }

  /** What only a new server can be told; its certificate changes by {@link #rotate}. */
  #handshake(identity: Identity): object {
    const handshakeTimeout = Math.min(this.settings.headersTimeout, HANDSHAKE_TIMEOUT_MS)
    return { ...this.#tls(identity), handshakeTimeout }
  }

  #attendSecure(server: SecureServer): SecureServer {
    // The protocol hears of accepted peers only: it parses not one byte of a refused one.
    const speak = server.listeners('secureConnection')
    server.removeAllListeners('secureConnection')
    server.on('secureConnection', (socket: TLSSocket) => {
      if (this.#judge(socket)) for (const listener of speak) listener.call(server, socket)
    })
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.refusePeer(refusalOf(error, socket)?.reason ?? 'handshake-failed', socket)
      socket.destroy()
    })
    return server
  }

  #attendPlain(server: NetServer): NetServer {
    server.prependListener('connection', (socket: Socket) => {
      this.plaintext += 1
      this.#admitConnection(new Connection(socket, undefined, Number.POSITIVE_INFINITY, this.newRetireAt))
    })
    return server
  }

  #createSplitter(): NetServer {
    const secure = this.#secure!
    const plain = this.#plain!
    const tls = (socket: Socket): boolean => secure.emit('connection', socket)
    const text = (socket: Socket): boolean => plain.emit('connection', socket)
    const server = createNetServer({ allowHalfOpen: true, pauseOnConnect: false, ...SOCKET_OPTIONS }, (socket) =>
      detectTls(socket, this.host.clock, this.settings.headersTimeout, tls, text),
    )
    // They watch for slow connections from when they hear this on, and they never listen
    // themselves.
    server.on('listening', () => {
      secure.emit('listening')
      plain.emit('listening')
    })
    return server
  }

  #track(socket: Socket): void {
    this.accepted += 1
    this.#sockets.add(socket)
    // From here to its close: node:http takes its own listener away when it hands a socket over.
    socket.on('error', ignore)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #judge(socket: TLSSocket): boolean {
    const verdict = judgePeer(socket, this.#verifier!)
    if (!verdict.ok) {
      this.refusePeer(verdict.reason, socket)
      this.#farewells.say(socket, this.farewell(verdict.reason))
      return false
    }
    const now = this.host.clock.now()
    const expiresAt = verdict.notAfter
    const leftMs = expiresAt - certificateTimeOf(this.host.clock).now()
    const retireAt = Math.min(this.newRetireAt, now + leftMs * (1 - RETIRE_AT_SHARE_LEFT))
    this.#admitConnection(new Connection(socket, verdict, expiresAt, retireAt))
    return true
  }

  #admitConnection(connection: Connection): void {
    this.connections.add(connection)
    if (connection.caller !== undefined) this.#expiry ??= this.#lookLater()
    connection.socket.on('error', ignore)
    connection.socket.once('close', () => {
      this.connections.delete(connection)
      this.lost(connection)
    })
    this.admitted(connection)
  }

  /**
   * What still runs when its caller's certificate has ended gets nothing more, unless the same
   * identity has a connection with a newer one: then it was renewed, and a long stream goes on. An
   * idle connection stays, so that its next request is answered as not executed.
   */
  #endExpired(): void {
    const now = certificateTimeOf(this.host.clock).now()
    const valid = new Set<string>()
    let certified = false
    for (const { caller, expiresAt } of this.connections) {
      if (caller === undefined) continue
      certified = true
      if (now < expiresAt) valid.add(caller.spiffeId)
    }
    for (const { caller, expiresAt, inFlight, socket } of this.connections) {
      if (caller === undefined || valid.has(caller.spiffeId)) continue
      if (inFlight > 0 && now >= expiresAt + EXPIRED_GRACE_MS) socket.destroy()
    }
    this.#expiry = certified ? this.#lookLater() : undefined
  }

  #lookLater(): Timer {
    return this.host.clock.startBackgroundTimer(EXPIRY_LOOK_MS, () => this.#endExpired(), undefined)
  }

  protected refusePeer(reason: string, socket: TLSSocket): void {
    this.refused += 1
    const address = socket.remoteAddress
    this.host.events.emit('peer:refused', { side: 'server', reason, ...(address !== undefined && { address }) })
  }

  /**
   * New connections use the new certificate at once; the old ones are asked to leave one by one.
   */
  #rotate(next: Identity): void {
    this.#verifier!.setTrust(next)
    this.#secure!.setSecureContext(this.#tls(next))
    const { clock } = this.host
    const now = clock.now()
    for (const connection of this.connections) {
      if (connection.caller !== undefined) connection.retire(now + clock.random() * this.settings.rotationGrace)
    }
  }
}

function ignore(): void {}
