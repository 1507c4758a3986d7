/**
 * The registry's socket: TLS with an optional client certificate that is judged before anything
 * else, HTTP/2 and HTTP/1.1 on one port, and from each request to its handler. Its own certificate
 * is renewed while it runs; new connections get the new one.
 */
import http2, { type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type CertificateTime, certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { WallTimer } from '../core/wall-timer.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { judgePeer, serverTlsOptions } from '../identity/tls-options.ts'
import { type FloodGuard, GUARDED_SERVER, guardSession } from '../net/http2-flood-guard.ts'
import { OptionsError } from '../options/fields.ts'
import {
  type AccessOptions,
  type Caller,
  callerOf,
  checkAccess,
  checkCertificate,
  checkHost,
  checkOrigin,
  type Peer,
} from './access/access.ts'
import type { ApiContext } from './api/context.ts'
import { ApiError, asApiError } from './api/error.ts'
import { refusePreconditions } from './api/precondition.ts'
import {
  continueBody,
  type IncomingRequest,
  isHttp2,
  type OutgoingResponse,
  sendError,
  sourceOf,
  urlOf,
} from './api/request.ts'
import { checkForm } from './api/request-form.ts'
import { type ApiRoute, ROUTES, refuseUnknownQuery } from './api/routes.ts'
import { type AcceptedConnection, MOST_CONNECTIONS, RegistryConnections } from './connections.ts'
import type { Logger } from './log.ts'

const MOST_STREAMS = 100
/** A connection on which nothing happens, not even a heartbeat. */
const IDLE_MS = 120_000
/** From the last words to the end of all connections. */
const CLOSE_MS = 1_000
/** Of its certificate's life; the clients' random point is between 60 and 75 %. */
const RENEW_AT = 0.66
const RENEW_RETRY_MS = 30_000
/** How often ended certificates, floods and idle connections are looked for. */
const SWEEP_MS = 500

/**
 * Where the verdict on a connection is kept; HTTP/2 hands out proxies of the socket, so a map by
 * socket would miss.
 */
const PEER = Symbol('peer')
const CONNECTION = Symbol('connection')
type JudgedSocket = TLSSocket & { [PEER]?: Peer; [CONNECTION]?: AcceptedConnection }

/** What a request asks to be told before it sends its body. */
type Expectation = 'none' | 'continue' | 'unknown'

export interface ServerOptions {
  readonly address: string
  readonly port: number
  readonly names: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] }
}

export class RegistryServer {
  readonly #context: ApiContext
  readonly #access: AccessOptions
  readonly #options: ServerOptions
  readonly #clock: Clock
  readonly #certificateTime: CertificateTime
  readonly #log: Logger
  readonly #verifier: PeerVerifier
  readonly #connections: RegistryConnections
  readonly #http2 = new Map<ServerHttp2Session, FloodGuard>()
  #server: Http2SecureServer | undefined
  /** Requests in progress, and whether the certificate or token of who asked is good still. */
  readonly #running = new Map<OutgoingResponse, () => boolean>()
  #renewal: WallTimer | undefined
  #sweeper: Timer | undefined
  #generation = 0

  constructor(context: ApiContext, access: AccessOptions, options: ServerOptions, log: Logger) {
    this.#context = context
    this.#access = access
    this.#options = options
    this.#clock = context.clock
    this.#certificateTime = certificateTimeOf(context.clock)
    this.#connections = new RegistryConnections(context.clock)
    this.#log = log
    const { trustDomain, roots, sequence } = context.authority
    this.#verifier = new PeerVerifier(this.#clock, { trustDomain, roots, sequence })
  }

  /** Rejects if the address is taken or not ours. */
  async listen(): Promise<number> {
    const server = http2.createSecureServer({
      ...(await this.#tls()),
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
    // Before HTTP/2's own listener, so that no request comes from a peer that has not been judged.
    server.prependListener('secureConnection', (socket: TLSSocket) => this.#judge(socket))
    server.on('session', (session: ServerHttp2Session) => this.#onHttp2(session))
    const serve = (expectation: Expectation) => (request: IncomingRequest, response: OutgoingResponse) =>
      void this.#onRequest(request, response, expectation)
    server.on('request', serve('none'))
    // Node's own answer throws in a later turn when the stream has been reset in between.
    server.on('checkContinue', serve('continue'))
    server.on('checkExpectation', serve('unknown'))
    // Of HTTP/1.1 with a socket, of HTTP/2 with a response.
    server.on('connect', (request: IncomingRequest, to: Socket | OutgoingResponse) => {
      if ('writeHead' in to) void this.#onRequest(request, to, 'none')
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

  /** Sessions have said goodbye already; whatever is still open after a moment is cut. */
  async close(): Promise<void> {
    this.#renewal?.stop()
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

  async #tls(): Promise<http2.SecureServerOptions> {
    this.#generation += 1
    const identity = await this.#context.authority.issueOwn(this.#options.names, this.#generation)
    this.#renewIn(Math.max((identity.notAfter - this.#clock.wallNow()) * RENEW_AT, 500))
    // Joiners and operators have no certificate; those who show one are judged below.
    return { ...serverTlsOptions(identity, { sendRoots: true }), rejectUnauthorized: false }
  }

  #renewIn(ms: number): void {
    this.#renewal?.stop()
    this.#renewal = new WallTimer(this.#clock, ms, () => {
      this.#tls()
        .then((tls) => this.#server?.setSecureContext(tls))
        .catch((error: Error) => {
          this.#log.error({ reason: error.message }, 'own certificate not renewed')
          this.#renewIn(RENEW_RETRY_MS)
        })
    })
  }

  /**
   * A request that goes on, such as a watch, ends with the certificate or the token of the one who
   * asked.
   */
  #sweep(): void {
    this.#sweeper = this.#clock.startBackgroundTimer(SWEEP_MS, () => this.#sweep(), undefined)
    // Not by session.setTimeout(), whose timer holds a closed session until it fires.
    const idleSince = this.#clock.now() - Math.max(IDLE_MS, 2 * this.#context.registrar.leases.leaseMs)
    for (const [session, guard] of this.#http2) {
      guard.look()
      // Not by close(), which would wait for the end of what has only half begun.
      if (guard.movedAt < idleSince) session.destroy()
    }
    for (const [response, holds] of this.#running) if (!holds()) response.destroy()
  }

  #judge(socket: JudgedSocket): void {
    const source = sourceOf(socket)
    socket.on('error', () => {})
    const connection = this.#connections.of(socket)
    if (connection === undefined) {
      socket.destroy()
      return
    }
    connection.secure()
    socket[CONNECTION] = connection
    const verdict = judgePeer(socket, this.#verifier)
    if (verdict.ok) {
      const { spiffeId, service, notAfter } = verdict
      this.#connections.admit(connection)
      socket[PEER] = { spiffeId, service, notAfter, source }
    } else {
      const { reason, detail } = verdict
      const stranger = { spiffeId: undefined, service: undefined, notAfter: Number.POSITIVE_INFINITY, source }
      if (reason === 'no-certificate') socket[PEER] = stranger
      else {
        this.#context.audit.record({ who: 'anonymous', source, action: 'connect', outcome: 'refused', reason, detail })
        // Answered, not cut: it would take that for a registry that is away, and go on asking.
        socket[PEER] = { ...stranger, refused: `${reason}: ${detail}` }
      }
    }
    if (socket.alpnProtocol !== 'h2') socket.setTimeout(IDLE_MS, () => socket.destroy())
  }

  #onHttp2(session: ServerHttp2Session): void {
    session.once('close', () => this.#http2.delete(session))
    session.on('error', () => {})
    const peer = (session.socket as JudgedSocket)[PEER]
    const guard = guardSession(session, this.#clock, (reason) => {
      const who = peer?.spiffeId ?? 'anonymous'
      const source = peer?.source ?? 'unknown'
      this.#context.audit.record({ who, source, action: 'connection', outcome: 'refused', reason })
    })
    this.#http2.set(session, guard)
  }

  async #onRequest(request: IncomingRequest, response: OutgoingResponse, expectation: Expectation): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    const socket = socketOf(request, response)
    const ended = socket?.[CONNECTION]?.begin()
    if (ended !== undefined) response.once('close', ended)
    if (isHttp2(response)) {
      // One turn later what a flood resets has been reset, and costs no more.
      await new Promise((resolve) => setImmediate(resolve))
      if (response.stream.destroyed) return
    }
    try {
      await this.#handle(request, response, socket, expectation)
    } catch (error) {
      const refusal = asApiError(error)
      if (refusal !== error) {
        this.#log.error({ path: request.url?.split('?')[0], reason: (error as Error).message }, 'request failed')
      }
      try {
        sendError(request, response, refusal)
      } catch {
        // The stream is gone.
      }
    }
  }

  async #handle(
    request: IncomingRequest,
    response: OutgoingResponse,
    socket: JudgedSocket | undefined,
    expectation: Expectation,
  ): Promise<void> {
    const peer = socket?.[PEER]
    if (socket === undefined || peer === undefined) throw new ApiError('identity-required', 'the connection is gone')
    if (expectation === 'unknown') {
      throw new ApiError('expectation-failed', 'the only expectation that is met is 100-continue')
    }
    try {
      checkForm(request)
      checkCertificate(peer, this.#certificateTime.now())
    } catch (error) {
      endAfter(response)
      throw error
    }
    const { pathname, searchParams } = urlOf(request)
    if (pathname === '/v1/session') {
      this.#openSession(request, response, peer)
      return
    }
    const routes = ROUTES.filter((one) => one.path.test(pathname))
    const found = routes.find((one) => one.method === request.method)
    if (routes[0] === undefined) throw new ApiError('not-found', `there is nothing at ${pathname.slice(0, 100)}`)
    checkHost(request, peer, routes[0].access, this.#access)
    if (found === undefined) {
      throw new ApiError('method-not-allowed', `${pathname} knows ${routes.map((one) => one.method).join(', ')}`)
    }
    if (found.method !== 'GET') checkOrigin(request)
    if (!found.versioned) refusePreconditions(request.headers, 'what is changed here has no versions')
    refuseUnknownQuery(searchParams, found)
    const caller = this.#admit(request, peer, found)
    if (caller.admin && socket[CONNECTION] !== undefined) this.#connections.admit(socket[CONNECTION])
    this.#attach(response, caller)
    if (expectation === 'continue') continueBody(response)
    const parameters = found.path.exec(pathname)!.slice(1)
    await found.handle(this.#context, { request, response, caller, query: searchParams, parameters })
  }

  #attach(response: OutgoingResponse, { notAfter, holds }: Caller): void {
    if (holds === undefined && notAfter === Number.POSITIVE_INFINITY) return
    this.#running.set(response, () => this.#certificateTime.now() < notAfter && holds?.() !== false)
    response.once('close', () => this.#running.delete(response))
  }

  #admit(request: IncomingRequest, peer: Peer, route: ApiRoute): Caller {
    let caller: Caller | undefined
    try {
      caller = callerOf(request, peer, this.#access)
      checkAccess(caller, route.access)
      return caller
    } catch (error) {
      const { code, message } = error as ApiError
      const action = `${route.method} ${urlOf(request).pathname}`.slice(0, 100)
      const who = caller?.name ?? peer.spiffeId ?? 'anonymous'
      const { source } = peer
      this.#context.audit.record({ who, source, action, outcome: 'refused', reason: code, detail: message })
      throw error
    }
  }

  #openSession(request: IncomingRequest, response: OutgoingResponse, peer: Peer): void {
    if (request.method !== 'POST') throw new ApiError('method-not-allowed', '/v1/session knows POST')
    if (!isHttp2(response)) throw new ApiError('invalid-request', 'a session needs HTTP/2')
    if (this.#context.closing()) throw new ApiError('overloaded', 'the registry is going away')
    const { spiffeId, service, source, notAfter } = peer
    if (spiffeId === undefined || service === undefined) {
      throw new ApiError('identity-required', 'a session needs the certificate of a service')
    }
    const { stream } = response
    stream.respond({ ':status': 200, 'content-type': 'application/x-ndjson' })
    this.#context.sessions.open(stream, { spiffeId, service, source }, notAfter)
  }
}

function socketOf(request: IncomingRequest, response: OutgoingResponse): JudgedSocket | undefined {
  return (isHttp2(response) ? response.stream?.session?.socket : request.socket) as JudgedSocket | undefined
}

/** This answer is the last on its connection. */
function endAfter(response: OutgoingResponse): void {
  if (isHttp2(response)) response.once('close', () => response.stream?.session?.close())
  else response.setHeader('connection', 'close')
}
