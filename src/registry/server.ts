/**
 * The registry's socket: HTTP/2 and HTTP/1.1 on one port, by TLS with an optional client
 * certificate. Verifies each peer before its first request.
 */
import http2, { type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../core/clock.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { verifyPeer } from '../identity/tls-options.ts'
import { type FloodGuard, GUARDED_SERVER, guardSession } from '../net/http2-flood-guard.ts'
import { OptionsError } from '../options/fields.ts'
import type { AccessOptions } from './access/access.ts'
import type { ApiContext } from './api/context.ts'
import { type IncomingRequest, type OutgoingResponse, sourceOf } from './api/request.ts'
import { CONNECTION, type Expectation, PEER, RequestHandler, type VerifiedSocket } from './api/request-handler.ts'
import { MOST_CONNECTIONS, RegistryConnections } from './connections.ts'
import type { Credentials } from './fleet/peers.ts'
import type { Logger } from './log.ts'
import { OwnCertificate } from './own-certificate.ts'

const MOST_STREAMS = 100
/** Without any traffic, not even a heartbeat. */
const IDLE_MS = 120_000
/** From GOAWAY to the end of all connections. */
const CLOSE_MS = 1_000
/** From the end of a denied peer's sessions to that of its connections. */
const DISMISS_MS = 500
/** How often ended certificates, floods and idle connections are looked for. */
const SWEEP_MS = 500

export interface ServerOptions {
  readonly address: string
  readonly port: number
  readonly names: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] }
}

export class RegistryServer {
  readonly #context: ApiContext
  readonly requests: RequestHandler
  readonly #options: ServerOptions
  readonly #clock: Clock
  readonly #log: Logger
  readonly #verifier: PeerVerifier
  readonly #connections: RegistryConnections
  readonly #http2 = new Map<ServerHttp2Session, FloodGuard>()
  readonly #certificate: OwnCertificate
  #server: Http2SecureServer | undefined
  #sweeper: Timer | undefined

  constructor(context: ApiContext, access: AccessOptions, options: ServerOptions, log: Logger) {
    this.#context = context
    this.#options = options
    this.#clock = context.clock
    this.#connections = new RegistryConnections(context.clock)
    this.#log = log
    this.requests = new RequestHandler(context, access, this.#connections, log)
    this.#verifier = new PeerVerifier(this.#clock, { ...context.authority.bundle, denied: [] })
    this.#certificate = new OwnCertificate(context.authority, options.names, this.#clock, {
      renewed: (tls) => this.#server?.setSecureContext(tls),
      failed: (error) => log.error({ reason: error.message }, 'own certificate not renewed'),
    })
  }

  /** What it shows other registries, and how it verifies them. `undefined` before it listens. */
  get credentials(): Credentials | undefined {
    const { identity } = this.#certificate
    return identity === undefined ? undefined : { identity, verifier: this.#verifier }
  }

  /** Rejects if the address is taken or not ours. */
  async listen(): Promise<number> {
    const server = http2.createSecureServer({
      ...(await this.#certificate.start()),
      SNICallback: this.#certificate.select,
      allowHTTP1: true,
      settings: { maxConcurrentStreams: MOST_STREAMS },
      ...GUARDED_SERVER,
    })
    this.#server = server
    server.maxConnections = MOST_CONNECTIONS
    this.#attend(server)
    this.#sweep()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: this.#options.address, port: this.#options.port }, () => {
        server.off('error', reject)
        resolve()
      })
    }).catch((error: NodeJS.ErrnoException) => {
      const { address, port } = this.#options
      const why = error.code === 'EADDRINUSE' ? 'it is in use' : error.message
      throw new OptionsError('startRegistry', [
        { path: ['port'], message: `cannot listen on ${address}:${port}: ${why}` },
      ])
    })
    server.on('error', (error: Error) => this.#log.error({ reason: error.message }, 'server error'))
    return (server.address() as AddressInfo).port
  }

  /** Every event that bytes from outside can cause, also those that Node would answer by itself. */
  #attend(server: Http2SecureServer): void {
    // Before TLS hears of it.
    server.prependListener('connection', (socket: Socket) => this.#connections.accept(socket))
    // Before HTTP/2's own listener, so that no request comes from a peer that is not verified.
    server.prependListener('secureConnection', (socket: TLSSocket) => this.#verify(socket))
    server.on('session', (session: ServerHttp2Session) => this.#onHttp2(session))
    const serve = (expectation: Expectation) => (request: IncomingRequest, response: OutgoingResponse) =>
      void this.requests.serve(request, response, expectation)
    server.on('request', serve('none'))
    // Node's own answer throws in a later turn when the stream has been reset in between.
    server.on('checkContinue', serve('continue'))
    server.on('checkExpectation', serve('unknown'))
    // Of HTTP/1.1 with a socket, of HTTP/2 with a response.
    server.on('connect', (request: IncomingRequest, to: Socket | OutgoingResponse) => {
      if ('writeHead' in to) void this.requests.serve(request, to, 'none')
      else to.destroy()
    })
    server.on('unknownProtocol', (socket: Socket) => socket.destroy())
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      socket.destroy()
      // The first contact of every joiner: it has seen our chain and says no more
      // (identity/first-contact).
      if (error.code === 'ECONNRESET') return
      const source = sourceOf(socket)
      if (this.#context.audit.admits('anonymous', source)) {
        this.#log.info({ source, reason: error.message }, 'handshake failed')
      }
    })
    server.on('sessionError', () => {})
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy())
  }

  /** Ends what denied peers have open. They read their sessions' last words before the end. */
  dismissDenied(): void {
    const { denials } = this.#context
    this.requests.sweep()
    for (const session of this.#http2.keys()) {
      const peer = session.destroyed ? undefined : (session.socket as VerifiedSocket)[PEER]
      if (peer?.spiffeId === undefined || !denials.has(peer.spiffeId)) continue
      this.#clock.startBackgroundTimer(DISMISS_MS, (one) => one.destroy(), session)
    }
  }

  /** Sends GOAWAY, then destroys what is still open after a second. */
  async close(): Promise<void> {
    this.#certificate.close()
    if (this.#sweeper !== undefined) this.#clock.stopTimer(this.#sweeper)
    this.#sweeper = undefined
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const session of this.#http2.keys()) session.close()
    // A real timer, whatever clock the rest runs on: the sockets are real.
    const cut = setTimeout(() => {
      for (const session of this.#http2.keys()) session.destroy()
      this.#connections.destroy()
    }, CLOSE_MS)
    await closed
    clearTimeout(cut)
    this.#connections.close()
  }

  #sweep(): void {
    this.#sweeper = this.#clock.startBackgroundTimer(SWEEP_MS, () => this.#sweep(), undefined)
    // Not by session.setTimeout(), whose timer holds a closed session until it fires.
    const idleSince = this.#clock.now() - Math.max(IDLE_MS, 2 * this.#context.registrar.leases.leaseMs)
    for (const [session, guard] of this.#http2) {
      guard.look()
      // close() would wait for streams that never begin.
      if (guard.movedAt < idleSince) session.destroy()
    }
    this.requests.sweep()
  }

  #verify(socket: VerifiedSocket): void {
    const source = sourceOf(socket)
    socket.on('error', () => {})
    const connection = this.#connections.of(socket)
    if (connection === undefined) {
      socket.destroy()
      return
    }
    connection.secure()
    socket[CONNECTION] = connection
    // A denied peer is known by its name: what it asks is answered with that.
    this.#verifier.setTrust({ ...this.#context.authority.bundle, denied: [] })
    const verdict = verifyPeer(socket, this.#verifier)
    if (verdict.ok) {
      const { spiffeId, service, notAfter } = verdict
      // One that is denied is answered, but keeps no place from others.
      if (!this.#context.denials.has(spiffeId)) this.#connections.admit(connection)
      socket[PEER] = { spiffeId, service, notAfter, source }
    } else {
      const { reason, detail } = verdict
      const stranger = { spiffeId: undefined, service: undefined, notAfter: Number.POSITIVE_INFINITY, source }
      if (reason === 'no-certificate') socket[PEER] = stranger
      else {
        this.#context.audit.record({ who: 'anonymous', source, action: 'connect', outcome: 'refused', reason, detail })
        // Answered, not cut: the process would take that for an unreachable registry and retry.
        socket[PEER] = { ...stranger, refused: `${reason}: ${detail}` }
      }
    }
    if (socket.alpnProtocol !== 'h2') socket.setTimeout(IDLE_MS, () => socket.destroy())
  }

  #onHttp2(session: ServerHttp2Session): void {
    session.once('close', () => this.#http2.delete(session))
    session.on('error', () => {})
    const peer = (session.socket as VerifiedSocket)[PEER]
    const guard = guardSession(session, this.#clock, (reason) => {
      const who = peer?.spiffeId ?? 'anonymous'
      const source = peer?.source ?? 'unknown'
      this.#context.audit.record({ who, source, action: 'connection', outcome: 'refused', reason })
    })
    this.#http2.set(session, guard)
  }
}
