/**
 * The page on a port in plain text, on this machine only: for browsers here, which do not know the
 * mesh's root, and for a proxy here that has a certificate which they know.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { markOwn } from '../../net/own.ts'
import { OptionsError } from '../../options/fields.ts'
import { sourceOf } from '../api/request.ts'
import { type Expectation, PEER, type RequestHandler, type VerifiedSocket } from '../api/request-handler.ts'

const ADDRESS = '127.0.0.1'
const MOST_CONNECTIONS = 500
/** A browser keeps connections; one without a request is closed. */
const IDLE_MS = 30_000
const HEAD_MS = 5_000
const REQUEST_MS = 20_000
/** A reader that takes nothing of its answer for so long is gone. */
const STUCK_MS = 60_000

export class PageListener {
  readonly #requests: RequestHandler
  readonly #server: Server

  constructor(requests: RequestHandler, stuckMs = STUCK_MS) {
    this.#requests = requests
    this.#server = markOwn(
      createServer({
        keepAliveTimeout: IDLE_MS,
        headersTimeout: HEAD_MS,
        requestTimeout: REQUEST_MS,
        connectionsCheckingInterval: 1_000,
      }),
    )
    const server = this.#server
    server.maxConnections = MOST_CONNECTIONS
    server.timeout = stuckMs
    server.on('connection', (socket: Socket) => {
      socket.on('error', () => {})
      const source = sourceOf(socket)
      const peer = { spiffeId: undefined, service: undefined, notAfter: Number.POSITIVE_INFINITY, source }
      ;(socket as VerifiedSocket)[PEER] = peer
    })
    const serve = (expectation: Expectation) => (request: IncomingMessage, response: ServerResponse) =>
      this.#serve(request, response, expectation)
    server.on('request', serve('none'))
    server.on('checkContinue', serve('continue'))
    server.on('checkExpectation', serve('unknown'))
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy())
    server.on('connect', (_request: IncomingMessage, socket: Socket) => socket.destroy())
    server.on('upgrade', (_request: IncomingMessage, socket: Socket) => socket.destroy())
  }

  /**
   * The address of the page.
   *
   * @throws OptionsError
   */
  async listen(port: number): Promise<string> {
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: ADDRESS, port }, () => {
        server.off('error', reject)
        resolve()
      })
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'it is in use' : error.message
      const message = `cannot listen on ${ADDRESS}:${port}: ${why}`
      throw new OptionsError('startRegistry', [{ path: ['uiPort'], message }])
    })
    server.on('error', () => {})
    return `http://${ADDRESS}:${(server.address() as AddressInfo).port}/ui/`
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    // Streams of the graph have no end.
    this.#server.closeAllConnections()
    await promise
  }

  #serve(request: IncomingMessage, response: ServerResponse, expectation: Expectation): void {
    const { url = '' } = request
    // The API takes tokens, and processes speak with it: both need TLS.
    if (/^\/ui(?:\/|\?|$)/.test(url)) void this.#requests.serve(request, response, expectation)
    else if (url === '/' && request.method === 'GET') response.writeHead(302, { location: '/ui/' }).end()
    else response.writeHead(404, { 'content-type': 'text/plain', connection: 'close' }).end('only /ui/ is here\n')
  }
}
