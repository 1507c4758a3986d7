/**
 * The page of the mesh at `/ui/`: its files, logging in and out, and who asks its part of the API.
 * An operator's token comes here once, in the body of a request, and goes nowhere.
 */
import { acceptsGzip } from '../../net/quality-values.ts'
import { fields, text } from '../../options/fields.ts'
import { type AccessOptions, type Caller, callerOf, checkHost, type Peer } from '../access/access.ts'
import { LOGIN_ACTION } from '../access/audit.ts'
import { RateLimit } from '../access/rate-limit.ts'
import { sourceGroup } from '../address-policy.ts'
import type { ApiContext } from '../api/context.ts'
import { ApiError } from '../api/error.ts'
import { auditRefusal, checkBody } from '../api/handling.ts'
import { type IncomingRequest, type OutgoingResponse, readJson, sendBytes, sendJson } from '../api/request.ts'
import { readCookies, writeCookie } from './cookie.ts'
import { checkSameOrigin } from './same-origin.ts'
import { PageSessions } from './sessions.ts'
import { StaticFiles } from './static-files.ts'

/** Nothing from elsewhere, no inline script or style, in no frame; texts never become markup. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "worker-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
} as const

const LOGIN = fields({ token: text("an operator's token", /^\S+$/, 256) })
const LONGEST_LOGIN = 1_024
/** Of one operator, per second and in a burst: each is written to the store. */
const LOGINS: readonly [number, number] = [0.2, 30]

/** One request, as far as the page needs it. */
export interface PageRequest {
  readonly request: IncomingRequest
  readonly response: OutgoingResponse
  readonly peer: Peer
  readonly pathname: string
  readonly query: URLSearchParams
}

export class Page {
  readonly #context: ApiContext
  readonly #access: AccessOptions
  readonly #sessions: PageSessions
  readonly #files: StaticFiles
  readonly #logins: RateLimit

  constructor(context: ApiContext, access: AccessOptions, files = new StaticFiles()) {
    this.#context = context
    this.#access = access
    this.#sessions = new PageSessions(context.clock)
    this.#files = files
    this.#logins = new RateLimit(...LOGINS, context.clock)
  }

  /**
   * Who asks. The cookie counts, and neither a certificate nor an `Authorization`.
   *
   * @throws ApiError `host-refused`, `origin-refused`, or `identity-required` without a session
   */
  callerOf(request: IncomingRequest, peer: Peer): Caller {
    const browser = asBrowser(peer)
    checkHost(request, browser, 'operator', this.#access)
    checkSameOrigin(request)
    if (request.headers.authorization !== undefined) {
      throw new ApiError('invalid-request', 'the page is asked with its cookie; a token asks /v1 without /ui/api')
    }
    const sessions = readCookies(request).flatMap((id) => this.#sessions.find(id) ?? [])
    if (sessions.length > 1) {
      // Another site may have put one here, and nothing tells which.
      throw new ApiError('identity-required', 'there are cookies of two sessions; log in again')
    }
    if (sessions[0] !== undefined) {
      const { name, access, isValid } = sessions[0]
      return { ...browser, admin: access === 'admin', operator: true, isValid, registry: false, name }
    }
    const caller = callerOf(request, browser, this.#access)
    if (!caller.operator) throw new ApiError('identity-required', "log in with an operator's token")
    return caller
  }

  /** @throws ApiError */
  async serve(exchange: PageRequest): Promise<void> {
    const { request, response, peer, pathname, query } = exchange
    checkHost(request, asBrowser(peer), 'operator', this.#access)
    if (query.size > 0) {
      throw new ApiError('invalid-request', 'the page takes no parameters; a token never belongs into an address')
    }
    if (pathname === '/ui/login') return await this.#login(exchange)
    if (pathname === '/ui/logout') return this.#logout(exchange)
    allow(request, pathname, 'GET')
    if (pathname === '/ui/session') return this.#sendSession(request, response, peer)
    if (pathname === '/ui') return sendBytes(response, 308, 'text/plain', Buffer.alloc(0), { location: '/ui/' })
    const file = await this.#files.find(pathname === '/ui/' ? 'index.html' : pathname.slice('/ui/'.length))
    if (file === undefined) {
      const hint = pathname === '/ui/' ? 'the page was not built: npm run build:ui' : 'there is no such file'
      throw new ApiError('not-found', hint)
    }
    const isGzip = acceptsGzip(request.headers['accept-encoding']?.toString())
    sendBytes(response, 200, file.contentType, isGzip ? file.gzipped : file.bytes, {
      ...HEADERS,
      vary: 'accept-encoding',
      ...(file.isHashed && { 'cache-control': 'public, max-age=31536000, immutable' }),
      ...(isGzip && { 'content-encoding': 'gzip' }),
    })
  }

  async #login({ request, response, peer }: PageRequest): Promise<void> {
    allow(request, '/ui/login', 'POST')
    const { audit, clock, joins } = this.#context
    const { source } = peer
    const stranger = { ...asBrowser(peer), name: 'anonymous', admin: false, operator: false, registry: false }
    try {
      checkSameOrigin(request)
      // Every browser says it of a POST; it also tells the scheme behind a proxy.
      if (request.headers.origin === undefined) throw new ApiError('origin-refused', 'the header Origin is missing')
      const { token } = checkBody(LOGIN, await readJson(request, clock, LONGEST_LOGIN), 'login')
      const operator = this.#access.authenticate(token)
      if (operator === undefined) {
        if (!joins.take(sourceGroup(source))) {
          throw new ApiError('rate-limited', 'too many tokens from this address were refused; try again later')
        }
        throw new ApiError('admin-required', 'the token is not one of this registry, was revoked, or has expired')
      }
      if (!this.#logins.take(operator.name)) {
        throw new ApiError('rate-limited', `${operator.name} logs in too often; try again later`)
      }
      for (const former of readCookies(request)) this.#sessions.end(former)
      const cookie = writeCookie(request, this.#sessions.begin(operator))
      const { name, access } = operator
      audit.record({ who: name, source, action: LOGIN_ACTION, outcome: 'done' })
      this.#send(response, { name, access, dev: this.#access.dev }, { 'set-cookie': cookie })
    } catch (error) {
      throw auditRefusal(audit, LOGIN_ACTION, { ...stranger, isValid: undefined }, undefined, error)
    }
  }

  #logout({ request, response }: PageRequest): void {
    allow(request, '/ui/logout', 'POST')
    checkSameOrigin(request)
    for (const id of readCookies(request)) this.#sessions.end(id)
    this.#send(response, { done: true }, { 'set-cookie': writeCookie(request, undefined) })
  }

  /** A stranger is no error: the page asks this first of all. */
  #sendSession(request: IncomingRequest, response: OutgoingResponse, peer: Peer): void {
    const { dev } = this.#access
    try {
      const { name, admin } = this.callerOf(request, peer)
      this.#send(response, { name, access: admin ? 'admin' : 'read', dev })
    } catch (error) {
      if ((error as ApiError).code !== 'identity-required') throw error
      sendJson(response, 200, { name: null, access: null, dev })
    }
  }

  #send(response: OutgoingResponse, session: object, headers: Readonly<Record<string, string>> = {}): void {
    const { authority, fleet } = this.#context
    sendJson(response, 200, { ...session, trustDomain: authority.trustDomain, registry: fleet.id }, headers)
  }
}

/** What a browser shows besides the cookie counts for nothing: it sends it for every page. */
function asBrowser(peer: Peer): Peer {
  return { ...peer, spiffeId: undefined, service: undefined }
}

function allow({ method = '' }: IncomingRequest, pathname: string, allowed: string): void {
  if (method === allowed) return
  throw new ApiError('method-not-allowed', `${pathname} does not allow ${method.slice(0, 20)}; use ${allowed}`)
}
