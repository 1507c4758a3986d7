/**
 * Verifies the peer of each connection of a port, then hands the connection to the protocol agreed
 * by ALPN. It also rotates certificates and closes connections.
 */
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { LocalAddress } from '../core/endpoint.ts'
import { MUX, type TransportName, type TransportPreference } from '../core/transport.ts'
import { type Identity, type IdentitySource, isSameMaterial } from '../identity/identity.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { refusalOf, verifyPeer } from '../identity/tls-options.ts'
import { cannotListen } from '../net/cannot-listen.ts'
import type { LocalDirectory } from '../net/local-directory.ts'
import type { EventSink } from '../telemetry/events.ts'
import { CertificateExpiry } from './certificate-expiry.ts'
import type { Connection } from './connection.ts'
import type { Prefaced } from './detect-preface.ts'
import type { CallerIdentity } from './inbound-call.ts'
import { judgeCallers } from './judge-callers.ts'
import type { ListeningServer } from './listening-server.ts'
import { sayIfLocal } from './local-listener.ts'
import type { ServerMode } from './mode.ts'
import { Port, type PortOwner, type PortSettings } from './port.ts'
import type { ServerProtocol } from './protocol.ts'
import { Strangers } from './strangers.ts'

export interface AcceptorHost {
  readonly clock: Clock
  readonly events: EventSink
}

export interface AcceptorOwner extends AcceptorHost {
  readonly service: string
  /** Whether `inmesh/1` is offered. */
  readonly transport: TransportPreference
  /** Where it listens beside its port. */
  readonly localDirectory?: LocalDirectory | undefined
  /** Whose connections it takes over. @defaultValue it listens itself */
  readonly taken?: ListeningServer | undefined
  /** The callers of these connections are denied: ends their calls. */
  denyCalls(connections: ReadonlySet<Connection>): void
}

export interface AcceptorSettings extends PortSettings {
  readonly mode: ServerMode
  readonly rotationGrace: number
}

/** At the end of a drain, connections that do not close are destroyed after this time. */
const CLOSE_MS = 500
/** From the answers to a denied caller to the end of its connection. */
const DISMISS_MS = 500
/** A connection retires when this share of its caller's certificate lifetime is left. */
const RETIRE_AT_SHARE_LEFT = 0.1

const NO_PREFACES: readonly Prefaced[] = []

export class Acceptor implements PortOwner {
  readonly clock: Clock
  readonly #host: AcceptorOwner
  readonly #settings: AcceptorSettings
  readonly #protocols: readonly ServerProtocol[]
  readonly #identity: IdentitySource | undefined
  readonly #connections = new Map<Connection, ServerProtocol>()
  /** All accepted sockets, also during their handshake. */
  readonly #sockets = new Set<Socket>()
  readonly #strangers: Strangers
  readonly #expiry: CertificateExpiry
  readonly #port: Port
  #verifier: PeerVerifier | undefined
  #stopRotation: (() => void) | undefined
  accepted = 0
  /** Served without TLS. */
  plaintext = 0

  /** `protocols`: best first. Without an identity, all connections are plaintext. */
  constructor(
    host: AcceptorOwner,
    settings: AcceptorSettings,
    protocols: readonly ServerProtocol[],
    identity: IdentitySource | undefined,
    verifier: PeerVerifier | undefined,
  ) {
    this.clock = host.clock
    this.#host = host
    this.#settings = settings
    this.#protocols = protocols
    this.#identity = settings.mode === 'plaintext' ? undefined : identity
    this.#verifier = verifier
    this.#strangers = new Strangers(host, () => this.transports)
    this.#expiry = new CertificateExpiry(host.clock, () => this.#connections.keys())
    this.#port = new Port(this, settings, this.#identity?.current)
  }

  async listen(): Promise<void> {
    const identity = this.#identity
    if (identity !== undefined) {
      this.#verifier ??= new PeerVerifier(this.clock, identity.current)
      let last = identity.current
      this.#stopRotation = identity.onRotate((next) => {
        const before = last
        last = next
        this.#rotate(before, next)
      })
    }
    try {
      await this.#port.listen(this.#host.localDirectory)
    } catch (error) {
      this.#stopRotation?.()
      throw cannotListen(`a server of '${this.#host.service}'`, error as Error)
    }
    for (const protocol of this.#protocols) protocol.listening()
  }

  /** Its Unix socket; `undefined`: there is none. */
  get local(): LocalAddress | undefined {
    return this.#port.local
  }

  get address(): AddressInfo {
    return this.#port.address
  }

  /** Peers that were not let in. */
  get refused(): number {
    return this.#strangers.refused
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
    this.#port.stopAccepting()
    for (const protocol of this.#protocols) protocol.stopAccepting()
  }

  /** Closes every connection after its answers have been sent. */
  async close(): Promise<void> {
    this.#stopRotation?.()
    this.#expiry.stop()
    for (const [connection, protocol] of this.#connections) protocol.endConnection(connection)
    await new Promise<void>((resolve) => {
      const timer = this.clock.startTimer(CLOSE_MS, resolve, undefined)
      const check = (): void => {
        if (this.#sockets.size > 0) return
        this.clock.stopTimer(timer)
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

  /** The protocol of peers that do not say what they speak. */
  get #usual(): ServerProtocol | undefined {
    return this.#protocols.find(({ preface }) => preface === undefined)
  }

  /** Whether only peers with a certificate of the mesh come in. */
  get strict(): boolean {
    return this.#identity !== undefined && this.#settings.mode === 'strict'
  }

  // PortOwner.

  get taken(): ListeningServer | undefined {
    return this.#host.taken
  }

  connected(socket: Socket): void {
    this.accepted += 1
    this.#sockets.add(socket)
    // node:http removes its listener when it hands a socket over, so ours stays until the close.
    socket.on('error', ignore)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  dropped(): void {
    this.#host.events.emit('admission:refused', { side: 'server', code: 'concurrency-limited' })
  }

  speaks(protocol: string): boolean {
    return this.#offered().some(({ alpn }) => alpn === protocol)
  }

  /** No protocol parses a byte of a refused peer. */
  secured(socket: TLSSocket): void {
    const verdict = verifyPeer(socket, this.#verifier!)
    const protocol = this.#agreedProtocol(socket)
    if (!verdict.ok) {
      this.#strangers.refuse(socket, verdict.reason, protocol, typeof socket.alpnProtocol === 'string')
      return
    }
    if (protocol === undefined) {
      if (socket.destroyed) return
      this.#strangers.report('handshake-failed', socket)
      socket.destroy()
      return
    }
    const { clock } = this
    const expiresAt = verdict.notAfter
    const leftMs = expiresAt - certificateTimeOf(clock).now()
    const retireAt = Math.min(protocol.retireAt, clock.now() + leftMs * (1 - RETIRE_AT_SHARE_LEFT))
    this.#accept(socket, protocol, verdict, expiresAt, retireAt)
  }

  handshakeFailed(error: Error, socket: TLSSocket): void {
    this.#strangers.report(refusalOf(error, socket)?.reason ?? 'handshake-failed', socket)
    socket.destroy()
  }

  prefaced(): readonly Prefaced[] {
    if (this.taken !== undefined && !this.strict) return NO_PREFACES
    // A stranger may speak what is not offered now.
    const known: Prefaced[] = []
    for (const protocol of this.strict ? this.#protocols : this.#offered()) {
      const { preface } = protocol
      if (preface !== undefined) known.push({ preface, accept: (socket) => this.#acceptPlaintext(socket, protocol) })
    }
    return known
  }

  unprefaced(socket: Socket): void {
    if (this.taken === undefined || this.strict) this.#acceptPlaintext(socket, this.#usual)
    else this.#handBack(socket, this.taken)
  }

  get silence(): string | undefined {
    return this.#usual?.silence
  }

  /** What the application serves is not ours to count or to close. */
  #handBack(socket: Socket, taken: ListeningServer): void {
    this.plaintext += 1
    this.#sockets.delete(socket)
    socket.off('error', ignore)
    taken.serve(socket)
  }

  #acceptPlaintext(socket: Socket, protocol: ServerProtocol | undefined): void {
    if (this.strict) this.#strangers.refuse(socket, 'plaintext', protocol, protocol?.preface !== undefined)
    else if (protocol === undefined) this.#strangers.refuse(socket, 'protocol-error', undefined, false)
    else {
      this.plaintext += 1
      socket.allowHalfOpen = protocol.allowHalfOpen
      this.#accept(socket, protocol, undefined, Number.POSITIVE_INFINITY, protocol.retireAt)
    }
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
    if (this.local !== undefined) sayIfLocal(socket)
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
      this.#strangers.report('denied', socket)
      this.#connections.get(connection)!.dismiss(connection, 'denied')
      this.clock.startBackgroundTimer(DISMISS_MS, destroy, socket)
    }
  }

  /**
   * New connections use the new certificate and bundle at once. Existing ones are judged anew; they
   * leave over the grace period if our certificate is another, those of denied callers at once.
   */
  #rotate(last: Identity, next: Identity): void {
    this.#verifier!.setTrust(next)
    if (next.denied.length > 0) this.#dismissDenied()
    if (isSameMaterial(last, next)) return
    this.#port.present(next)
    const { clock } = this
    judgeCallers(this.#connections.keys(), this.#verifier!, clock, (reason, socket) =>
      this.#strangers.report(reason, socket),
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
