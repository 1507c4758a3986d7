/**
 * An optional read-only listener for operators and scrapers on the same machine: metrics,
 * configuration, endpoints, events. It requires a loopback address in `host`, which defeats DNS
 * rebinding by web pages.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP, type Socket } from 'node:net'
import { check, fields, optional, text, withDefault } from '../options/fields.ts'
import { integer } from '../options/quantities.ts'
import type { EventRecord } from './events.ts'
import type { HystrixStreams } from './hystrix/stream.ts'
import { OPENMETRICS_CONTENT_TYPE, prefersOpenMetrics } from './openmetrics.ts'
import { METRICS_CONTENT_TYPE } from './prometheus.ts'
import { redact } from './redact.ts'

/** Options of the admin listener. */
export interface AdminOptions {
  /**
   * An IP address. Any other than `127.0.0.1` and `::1` requires a token. @defaultValue
   * `'127.0.0.1'`
   */
  readonly host?: string
  /** 0 = any free port. @defaultValue 0 */
  readonly port?: number
  /** When given, every request must carry `authorization: Bearer <token>`. 16 to 256 characters. */
  readonly token?: string
}

export interface AdminSettings {
  readonly host: string
  readonly port: number
  readonly token: string | undefined
}

const ADDRESS = /^[0-9a-fA-F.:]{2,45}$/
const FIELDS = fields({
  host: withDefault(text("an IP address, such as '127.0.0.1' or '::1'", ADDRESS, 45), '127.0.0.1'),
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  token: optional(text('a token of 16 to 256 printable characters without spaces', /^[\x21-\x7e]{16,256}$/, 256)),
})

/** Validates the options and sets defaults. @throws OptionsError naming each wrong field. */
export function resolveAdmin(options?: AdminOptions, what = 'admin'): AdminSettings {
  const given = check(FIELDS, options, what)
  if (isIP(given.host) === 0) check(fields({ host: text('an IP address', /^$/) }), { host: given.host }, what)
  const loopback = given.host === '127.0.0.1' || given.host === '::1'
  if (!loopback && given.token === undefined) {
    const expected = 'a token, because the host is no loopback address'
    check(fields({ token: text(expected, /^[\x21-\x7e]{16,256}$/, 256) }), {}, what)
  }
  return Object.freeze(given)
}

/**
 * The pages of the listener; each function is called per request. `config` and `endpoints` are
 * redacted.
 */
export interface AdminPages {
  /** `openMetrics`: with exemplars; otherwise the text of Prometheus. */
  metrics(openMetrics: boolean): string
  /** The effective configuration. */
  config(): unknown
  /** Per service: endpoints with load, estimate, state, in flight. */
  endpoints(): unknown
  /** Oldest first. */
  events(): readonly EventRecord[]
  /** The stream for the Hystrix dashboard; absent: there is none. */
  readonly hystrix?: HystrixStreams | undefined
  /** `ok: false` answers 503. */
  health(): { readonly ok: boolean; readonly [detail: string]: unknown }
}

export interface Admin {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  /** Closes all connections; resolves within a second. Idempotent. */
  close(): Promise<void>
}

const MOST_CONNECTIONS = 32
const CLOSE_MS = 500
/** A text of metrics that takes less is made anew for each scrape. */
const LONG_MS = 20
/** Longer ones may take a tenth of the loop. */
const REST = 9
/** Limit for a connection on which no byte moves. */
const STALLED_MS = 5_000
const LOOPBACK_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i

/** Binds and listens. Never keeps the process alive. @throws the bind error, e.g. `EADDRINUSE`. */
export async function startAdmin(settings: AdminSettings, pages: AdminPages): Promise<Admin> {
  const server = createServer({
    maxHeaderSize: 8_192,
    headersTimeout: 5_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 2_000,
    keepAliveTimeout: 2_000,
  })
  server.maxConnections = MOST_CONNECTIONS
  // A client that sends requests but reads no answer would occupy a connection forever.
  server.setTimeout(STALLED_MS, (socket) => socket.destroy())
  server.on('connection', (socket: Socket) => socket.unref())
  server.on('request', (request, response) => answer(settings, pages, request, response))
  server.on('clientError', (_error, socket) => socket.destroy())
  await bind(server, settings)
  server.unref()
  const { port } = server.address() as AddressInfo
  const name = settings.host.includes(':') ? `[${settings.host}]` : settings.host
  let closed: Promise<void> | undefined
  return {
    host: settings.host,
    port,
    url: `http://${name}:${port}`,
    close() {
      pages.hystrix?.close()
      closed ??= close(server)
      return closed
    },
  }
}

function bind(server: Server, { host, port }: AdminSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject)
      // A failed accept (no more file descriptors) must not end the process.
      server.on('error', () => {})
      resolve()
    })
  })
}

/** Answers in flight get a moment, then all sockets are destroyed. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), CLOSE_MS)
    server.close(() => {
      clearTimeout(force)
      resolve()
    })
    server.closeIdleConnections()
  })
}

function answer(settings: AdminSettings, pages: AdminPages, request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  const refusal = refuse(settings, request)
  if (refusal !== undefined) {
    if (refusal.status === 401) response.setHeader('www-authenticate', 'Bearer')
    if (refusal.status === 405) response.setHeader('allow', 'GET')
    send(response, refusal.status, 'text/plain; charset=utf-8', `${refusal.why}\n`)
    return
  }
  try {
    page(pages, request, response)
  } catch {
    // The message of an unknown error may contain a secret.
    send(response, 500, 'text/plain; charset=utf-8', 'this page could not be made\n')
  }
}

function refuse(settings: AdminSettings, request: IncomingMessage): { status: number; why: string } | undefined {
  const { headers } = request
  if (settings.token !== undefined) {
    if (!sameText(headers.authorization ?? '', `Bearer ${settings.token}`))
      return { status: 401, why: 'a token is needed' }
  } else if (!LOOPBACK_HOST.test(headers.host ?? '')) {
    return { status: 403, why: 'the host header must be localhost, 127.0.0.1 or [::1]' }
  }
  const site = headers['sec-fetch-site']
  if (headers.origin !== undefined || (site !== undefined && site !== 'none' && site !== 'same-origin')) {
    return { status: 403, why: 'not for other web pages' }
  }
  return request.method === 'GET' ? undefined : { status: 405, why: 'only GET' }
}

function page(pages: AdminPages, request: IncomingMessage, response: ServerResponse): void {
  switch ((request.url ?? '/').split('?', 1)[0]) {
    case '/metrics': {
      const openMetrics = prefersOpenMetrics(request.headers.accept)
      response.setHeader('vary', 'accept')
      const type = openMetrics ? OPENMETRICS_CONTENT_TYPE : METRICS_CONTENT_TYPE
      send(response, 200, type, metricsText(pages, openMetrics))
      break
    }
    case '/hystrix.stream': {
      if (pages.hystrix === undefined) sendPaths(response)
      else {
        const refusal = pages.hystrix.open(request, response)
        if (refusal !== undefined) send(response, refusal.status, 'text/plain; charset=utf-8', `${refusal.why}\n`)
      }
      break
    }
    case '/config':
      sendJson(response, 200, pages.config())
      break
    case '/endpoints':
      sendJson(response, 200, pages.endpoints())
      break
    case '/events':
      sendJson(response, 200, pages.events())
      break
    case '/healthz': {
      const health = pages.health()
      sendJson(response, health.ok ? 200 : 503, health)
      break
    }
    default:
      sendPaths(response)
  }
}

interface MadeText {
  readonly text: string
  readonly untilAt: number
}

/** By format. */
const madeTexts = new WeakMap<AdminPages, Map<boolean, MadeText>>()

/** Many scrapers at once must not hold up the calls: a text that took long is sent again. */
function metricsText(pages: AdminPages, openMetrics: boolean): string {
  const made = madeTexts.get(pages) ?? new Map<boolean, MadeText>()
  const known = made.get(openMetrics)
  const startedAt = performance.now()
  if (known !== undefined && startedAt < known.untilAt) return known.text
  const text = pages.metrics(openMetrics)
  const now = performance.now()
  const tookMs = now - startedAt
  if (tookMs >= LONG_MS) madeTexts.set(pages, made.set(openMetrics, { text, untilAt: now + tookMs * REST }))
  return text
}

function sendPaths(response: ServerResponse): void {
  const paths = '/metrics /hystrix.stream /config /endpoints /events /healthz'
  send(response, 404, 'text/plain; charset=utf-8', `${paths}\n`)
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, 'application/json; charset=utf-8', `${JSON.stringify(redact(value), null, 2)}\n`)
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'cross-origin-resource-policy': 'same-origin',
  })
  response.end(body)
}

/** Compares digests, because comparing texts would reveal the token's length. */
function sameText(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())
}
