/**
 * Serves the registry's requests: checks form, certificate, Host, Origin and rights, then calls the
 * handler of the route. Ends a request that goes on, such as a watch, with the rights of its
 * caller.
 */
import type { TLSSocket } from 'node:tls'
import { type CertificateTime, certificateTimeOf } from '../../core/certificate-time.ts'
import {
  type AccessOptions,
  type Caller,
  callerOf,
  checkAccess,
  checkCertificate,
  checkHost,
  checkOrigin,
  type Peer,
} from '../access/access.ts'
import type { AcceptedConnection, RegistryConnections } from '../connections.ts'
import type { Logger } from '../log.ts'
import { Page } from '../ui/page.ts'
import { mayAsk, PAGE_API } from '../ui/questions.ts'
import type { ApiContext } from './context.ts'
import { ApiError, asApiError } from './error.ts'
import { refusePreconditions } from './precondition.ts'
import { continueBody, type IncomingRequest, isHttp2, type OutgoingResponse, sendError, urlOf } from './request.ts'
import { checkForm } from './request-form.ts'
import { type ApiRoute, ROUTES, refuseUnknownQuery } from './routes.ts'

/**
 * The verdict on a connection is a property of its socket: HTTP/2 hands out proxies of the socket,
 * so a map by socket would miss.
 */
export const PEER = Symbol('peer')
export const CONNECTION = Symbol('connection')
export type VerifiedSocket = TLSSocket & { [PEER]?: Peer; [CONNECTION]?: AcceptedConnection }

/** What a request waits for before it sends its body. */
export type Expectation = 'none' | 'continue' | 'unknown'

export class RequestHandler {
  readonly #context: ApiContext
  readonly #access: AccessOptions
  readonly #connections: RegistryConnections
  readonly #certificateTime: CertificateTime
  readonly #log: Logger
  readonly #page: Page
  /** Requests in flight, and whether the caller's certificate or token is still valid. */
  readonly #inFlight = new Map<OutgoingResponse, () => boolean>()

  constructor(context: ApiContext, access: AccessOptions, connections: RegistryConnections, log: Logger) {
    this.#context = context
    this.#access = access
    this.#connections = connections
    this.#certificateTime = certificateTimeOf(context.clock)
    this.#log = log
    this.#page = new Page(context, access)
  }

  /** Ends requests whose caller's certificate or token is no longer valid, or who is denied. */
  sweep(): void {
    for (const [response, isValid] of this.#inFlight) if (!isValid()) response.destroy()
  }

  /** Never rejects: a failure is answered, or the stream is gone. */
  async serve(request: IncomingRequest, response: OutgoingResponse, expectation: Expectation): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    const socket = socketOf(request, response)
    const ended = socket?.[CONNECTION]?.begin()
    if (ended !== undefined) response.once('close', ended)
    if (isHttp2(response)) {
      // A flood's streams are reset one turn later, and cost no more.
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
    socket: VerifiedSocket | undefined,
    expectation: Expectation,
  ): Promise<void> {
    const peer = socket?.[PEER]
    if (socket === undefined || peer === undefined) throw new ApiError('identity-required', 'the connection is gone')
    if (expectation === 'unknown') {
      throw new ApiError('expectation-failed', 'Expect: only 100-continue is supported')
    }
    try {
      checkForm(request)
      checkCertificate(peer, this.#certificateTime.now())
      this.#checkDenied(peer)
    } catch (error) {
      endAfter(response)
      throw error
    }
    const { pathname: asked, searchParams } = urlOf(request)
    const isOfPage = asked === '/ui' || asked.startsWith('/ui/')
    const isAskedByPage = asked.startsWith(`${PAGE_API}/`)
    if (isOfPage && !isAskedByPage) {
      await this.#page.serve({ request, response, peer, pathname: asked, query: searchParams })
      return
    }
    const pathname = isAskedByPage ? asked.slice(PAGE_API.length) : asked
    if (isAskedByPage && !mayAsk(request.method, pathname)) {
      throw new ApiError('not-found', 'the page does not ask that; ask it without /ui/api')
    }
    if (pathname === '/v1/session') {
      this.#openSession(request, response, peer)
      return
    }
    const routes = ROUTES.filter((one) => one.path.test(pathname))
    const found = routes.find((one) => one.method === request.method)
    if (routes[0] === undefined) throw new ApiError('not-found', `there is nothing at ${pathname.slice(0, 100)}`)
    if (!isAskedByPage) checkHost(request, peer, routes[0].access, this.#access)
    if (found === undefined) {
      throw methodNotAllowed(request, pathname, routes)
    }
    if (!isAskedByPage && (found.method !== 'GET' || found.access !== 'public')) checkOrigin(request)
    if (!found.versioned) refusePreconditions(request.headers, 'what is changed here has no versions')
    refuseUnknownQuery(searchParams, found)
    const caller = this.#admit(request, peer, found, isAskedByPage)
    if (caller.operator && socket[CONNECTION] !== undefined) this.#connections.admit(socket[CONNECTION])
    this.#attach(response, caller)
    if (expectation === 'continue') continueBody(response)
    const parameters = found.path.exec(pathname)!.slice(1)
    await found.handle(this.#context, { request, response, caller, query: searchParams, parameters })
  }

  #checkDenied({ spiffeId, source }: Peer): void {
    const { denials, audit } = this.#context
    if (spiffeId === undefined || !denials.has(spiffeId)) return
    audit.record({ who: spiffeId, source, action: 'connect', outcome: 'refused', reason: 'identity-denied' })
    denials.check(spiffeId)
  }

  #attach(response: OutgoingResponse, { spiffeId, notAfter, isValid }: Caller): void {
    if (isValid === undefined && notAfter === Number.POSITIVE_INFINITY) return
    const { denials } = this.#context
    const isDenied = (): boolean => spiffeId !== undefined && denials.has(spiffeId)
    const now = (): number => this.#certificateTime.now()
    this.#inFlight.set(response, () => now() < notAfter && isValid?.() !== false && !isDenied())
    response.once('close', () => this.#inFlight.delete(response))
  }

  #admit(request: IncomingRequest, peer: Peer, route: ApiRoute, isAskedByPage: boolean): Caller {
    let caller: Caller | undefined
    try {
      caller = isAskedByPage ? this.#page.callerOf(request, peer) : callerOf(request, peer, this.#access)
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
    if (request.method !== 'POST') throw methodNotAllowed(request, '/v1/session', [{ method: 'POST' }])
    if (!isHttp2(response)) throw new ApiError('invalid-request', 'a session needs HTTP/2')
    const { refusal } = this.#context.fleet
    if (refusal !== undefined) throw new ApiError('overloaded', `this registry takes no session now: ${refusal}`)
    const { spiffeId, service, source, notAfter } = peer
    if (spiffeId === undefined || service === undefined) {
      throw new ApiError('identity-required', 'a session needs the certificate of a service')
    }
    const { stream } = response
    stream.respond({ ':status': 200, 'content-type': 'application/x-ndjson' })
    this.#context.sessions.open(stream, { spiffeId, service, source }, notAfter)
  }
}

function socketOf(request: IncomingRequest, response: OutgoingResponse): VerifiedSocket | undefined {
  return (isHttp2(response) ? response.stream?.session?.socket : request.socket) as VerifiedSocket | undefined
}

/** Closes the connection after this response. */
function endAfter(response: OutgoingResponse): void {
  if (isHttp2(response)) response.once('close', () => response.stream?.session?.close())
  else response.setHeader('connection', 'close')
}

function methodNotAllowed(
  { method = '' }: IncomingRequest,
  pathname: string,
  routes: readonly { readonly method: string }[],
): ApiError {
  const allowed = routes.map((one) => one.method).join(' or ')
  return new ApiError('method-not-allowed', `${pathname} does not allow ${method.slice(0, 20)}; use ${allowed}`)
}
