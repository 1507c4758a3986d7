/**
 * The registry's socket: TLS with an optional client certificate that is judged before anything else, HTTP/2 and HTTP/1.1 on one
 * port, and from each request to its handler. Its own certificate is renewed while it runs; new connections get the new one.
 */
import http2, { type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { type Clock, LONGEST_TIMER_MS, type Timer } from '../core/clock.ts'
import { OptionsError } from '../core/fields.ts'
import { GUARDED_SERVER, guardSession } from '../core/http2-flood-guard.ts'
import { PeerVerifier } from '../identity/peer-verifier.ts'
import { judgePeer, serverTlsOptions } from '../identity/tls-options.ts'
import { type AccessOptions, type Caller, callerOf, checkAccess, checkHost, checkOrigin, type Peer } from './access.ts'
import { type ApiRoute, ROUTES } from './api.ts'
import type { ApiContext } from './api-context.ts'
import { ApiError, asApiError } from './api-error.ts'
import { isHttp2, type Request, type Response, sendError, sourceOf } from './exchange.ts'
import type { Logger } from './log.ts'

const MOST_CONNECTIONS = 20_000
const MOST_STREAMS = 100
/** A connection on which nothing happens, not even a heartbeat. */
const IDLE_MS = 120_000
/** From the last words to the end of all connections. */
const CLOSE_MS = 1_000
/** Of its certificate's life; the clients' random point is between 60 and 75 %. */
const RENEW_AT = 0.66
const RENEW_RETRY_MS = 30_000

/** Where the verdict on a connection is kept; HTTP/2 hands out proxies of the socket, so a map by socket would miss. */
const PEER = Symbol('peer')
type JudgedSocket = TLSSocket & { [PEER]?: Peer }

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
  readonly #log: Logger
  readonly #verifier: PeerVerifier
  readonly #sockets = new Set<Socket>()
  readonly #http2 = new Set<ServerHttp2Session>()
  #server: Http2SecureServer | undefined
  #timer: Timer | undefined
  #generation = 0

  constructor(context: ApiContext, access: AccessOptions, options: ServerOptions, log: Logger) {
    this.#context = context
    this.#access = access
    this.#options = options
    this.#clock = context.clock
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
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    // Before HTTP/2's own listener, so that no request comes from a peer that has not been judged.
    server.prependListener('secureConnection', (socket: TLSSocket) => this.#judge(socket))
    server.on('session', (session: ServerHttp2Session) => this.#onHttp2(session))
    server.on('request', (request, response) => void this.#onRequest(request, response))
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      // The first contact of every joiner: it has seen our chain and says no more (identity/first-contact).
      if (error.code === 'ECONNRESET') return
      this.#log.info({ source: sourceOf(socket), reason: error.message }, 'handshake failed')
    })
    server.on('sessionError', () => {})
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy())
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

  /** Sessions have said goodbye already; whatever is still open after a moment is cut. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const session of this.#http2) session.close()
    // A real timer, whatever clock the rest runs on: the sockets are real.
    const cut = setTimeout(() => {
      for (const session of this.#http2) session.destroy()
      for (const socket of this.#sockets) socket.destroy()
    }, CLOSE_MS)
    await closed
    clearTimeout(cut)
  }

  async #tls(): Promise<http2.SecureServerOptions> {
    this.#generation += 1
    const identity = await this.#context.authority.issueOwn(this.#options.names, this.#generation)
    const inMs = Math.min((identity.notAfter - this.#clock.wallNow()) * RENEW_AT, LONGEST_TIMER_MS)
    this.#renewIn(Math.max(inMs, 500))
    // Joiners and operators have no certificate; those who show one are judged below.
    return { ...serverTlsOptions(identity, { sendRoots: true }), rejectUnauthorized: false }
  }

  #renewIn(ms: number): void {
    this.#timer = this.#clock.startBackgroundTimer(
      ms,
      () => {
        this.#tls()
          .then((tls) => this.#server?.setSecureContext(tls))
          .catch((error: Error) => {
            this.#log.error({ reason: error.message }, 'own certificate not renewed')
            this.#renewIn(RENEW_RETRY_MS)
          })
      },
      undefined,
    )
  }

  #judge(socket: JudgedSocket): void {
    const source = sourceOf(socket)
    socket.on('error', () => {})
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) {
      socket[PEER] = { spiffeId: undefined, service: undefined, notAfter: Number.POSITIVE_INFINITY, source }
    } else {
      const verdict = judgePeer(socket, this.#verifier)
      if (!verdict.ok) {
        const { reason, detail } = verdict
        this.#context.audit.record({ who: 'anonymous', source, action: 'connect', outcome: 'refused', reason, detail })
        socket.destroy()
        return
      }
      const { spiffeId, service } = verdict
      socket[PEER] = { spiffeId, service, notAfter: Date.parse(certificate.validTo), source }
    }
    if (socket.alpnProtocol !== 'h2') socket.setTimeout(IDLE_MS, () => socket.destroy())
  }

  #onHttp2(session: ServerHttp2Session): void {
    this.#http2.add(session)
    session.once('close', () => this.#http2.delete(session))
    session.on('error', () => {})
    const idleMs = Math.max(IDLE_MS, 2 * this.#context.registrar.leases.leaseMs)
    session.setTimeout(idleMs, () => session.close())
    const peer = (session.socket as JudgedSocket)[PEER]
    guardSession(session, this.#clock, (reason) => {
      const who = peer?.spiffeId ?? 'anonymous'
      const source = peer?.source ?? 'unknown'
      this.#context.audit.record({ who, source, action: 'connection', outcome: 'refused', reason })
    })
  }

  async #onRequest(request: Request, response: Response): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    if (isHttp2(response)) {
      // One turn later what a flood resets has been reset, and costs no more.
      await new Promise((resolve) => setImmediate(resolve))
      if (response.stream.destroyed) return
    }
    try {
      await this.#handle(request, response)
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

  async #handle(request: Request, response: Response): Promise<void> {
    const socket = (isHttp2(response) ? response.stream?.session?.socket : request.socket) as JudgedSocket | undefined
    const peer = socket?.[PEER]
    if (peer === undefined) throw new ApiError('identity-required', 'the connection is gone')
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
    const caller = this.#admit(request, peer, found)
    const parameters = found.path.exec(pathname)!.slice(1)
    await found.handle(this.#context, { request, response, caller, query: searchParams, parameters })
  }

  #admit(request: Request, peer: Peer, route: ApiRoute): Caller {
    try {
      const caller = callerOf(request, peer, this.#access)
      checkAccess(caller, route.access)
      return caller
    } catch (error) {
      const { code, message } = error as ApiError
      const action = `${route.method} ${urlOf(request).pathname}`.slice(0, 100)
      const who = peer.spiffeId ?? 'anonymous'
      const { source } = peer
      this.#context.audit.record({ who, source, action, outcome: 'refused', reason: code, detail: message })
      throw error
    }
  }

  #openSession(request: Request, response: Response, peer: Peer): void {
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

function urlOf(request: Request): URL {
  try {
    return new URL(request.url ?? '/', 'https://registry')
  } catch {
    throw new ApiError('invalid-request', 'the path cannot be read')
  }
}
