/**
 * An optional read-only listener for operators, scrapers and probes: metrics, configuration,
 * endpoints, events, health.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { cannotListen } from '../net/cannot-listen.ts'
import { markOwn } from '../net/own.ts'
import { type AdminSettings, isListed, refuse } from './admin-access.ts'
import type { EventRecord } from './events.ts'
import type { HystrixStreams } from './hystrix/stream.ts'
import { OPENMETRICS_CONTENT_TYPE, prefersOpenMetrics } from './openmetrics.ts'
import { METRICS_CONTENT_TYPE } from './prometheus.ts'
import { redact } from './redact.ts'

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
  /** Why the process is not ready for work; `undefined`: it is. */
  notReady?(): string | undefined
}

export interface Admin {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:<port>` */
  readonly url: string
  /** Closes all connections; resolves within a second. Idempotent. */
  close(): Promise<void>
}

const MOST_CONNECTIONS = 128
/** Of peers that are not on the list. Beyond it the oldest ends, so that a probe always gets in. */
const MOST_OTHERS = 32
const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz'])
const CLOSE_MS = 500
/** A text of metrics that takes less is made anew for each scrape. */
const LONG_MS = 20
/** Longer ones may take a tenth of the loop. */
const REST = 9
/** Limit for a connection on which no byte moves. */
const STALLED_MS = 5_000

/** Binds and listens. Never keeps the process alive. @throws the bind error, e.g. `EADDRINUSE`. */
export async function startAdmin(settings: AdminSettings, pages: AdminPages): Promise<Admin> {
  const server = createServer({
    maxHeaderSize: 8_192,
    headersTimeout: 5_000,
    requestTimeout: 10_000,
    connectionsCheckingInterval: 2_000,
    keepAliveTimeout: 2_000,
  })
  markOwn(server)
  server.maxConnections = MOST_CONNECTIONS
  // A client that sends requests but reads no answer would occupy a connection forever.
  server.setTimeout(STALLED_MS, (socket) => socket.destroy())
  const others = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    socket.unref()
    if (!isListed(settings, socket.remoteAddress)) limitOthers(others, socket)
  })
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

function limitOthers(others: Set<Socket>, socket: Socket): void {
  const [oldest] = others
  if (others.size >= MOST_OTHERS) {
    others.delete(oldest!)
    oldest!.destroy()
  }
  others.add(socket)
  socket.once('close', () => others.delete(socket))
}

function bind(server: Server, { host, port }: AdminSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(cannotListen('the admin listener (admin.port)', error))
    server.once('error', failed)
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', failed)
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
  const refusal = refuse(settings, request, PROBES.has(pathOf(request)))
  if (refusal !== undefined) {
    if (refusal.status === 401) response.setHeader('www-authenticate', 'Bearer')
    if (refusal.status === 405) response.setHeader('allow', 'GET')
    sendText(response, refusal.status, refusal.why)
    return
  }
  try {
    page(pages, request, response)
  } catch {
    // The message of an unknown error may contain a secret.
    sendText(response, 500, 'this page could not be made')
  }
}

function page(pages: AdminPages, request: IncomingMessage, response: ServerResponse): void {
  switch (pathOf(request)) {
    case '/livez':
      sendText(response, 200, 'ok')
      break
    case '/readyz': {
      const reason = pages.notReady?.()
      sendText(response, reason === undefined ? 200 : 503, reason ?? 'ready')
      break
    }
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
        if (refusal !== undefined) sendText(response, refusal.status, refusal.why)
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

function pathOf({ url = '/' }: IncomingMessage): string {
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

function sendPaths(response: ServerResponse): void {
  sendText(response, 404, '/metrics /hystrix.stream /config /endpoints /events /healthz /livez /readyz')
}

function sendText(response: ServerResponse, status: number, line: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${line}\n`)
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
