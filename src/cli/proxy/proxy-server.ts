/** A port on loopback whose requests and upgrades go through the mesh, for browsers and curl. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type ErrorCode, isMeshError, reasonOf } from '../../core/errors.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import { printable } from '../terminal.ts'
import { type Proxied, readProxied } from './proxied-request.ts'

/** Of a browser with many pages. */
const MOST_CONNECTIONS = 256
const LOOPBACK = '127.0.0.1'

export class ProxyServer {
  readonly #mesh: Pick<Mesh, 'http' | 'createConnection'>
  readonly #server: Server
  readonly #upgraded = new Set<Duplex>()

  constructor(mesh: Pick<Mesh, 'http' | 'createConnection'>) {
    this.#mesh = mesh
    this.#server = createServer({ requestTimeout: 300_000 }, (request, response) => void this.#serve(request, response))
    this.#server.maxConnections = MOST_CONNECTIONS
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#server.on('connect', (request, socket) => refuse(socket, readProxied(request, this.port)))
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** @throws Error of the system, such as EADDRINUSE */
  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: LOOPBACK, port }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  close(): Promise<void> {
    for (const socket of this.#upgraded) socket.destroy()
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const proxied = readProxied(request, this.port)
    if ('status' in proxied) {
      request.resume()
      answer(response, proxied.status, proxied.message)
      return
    }
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const { method = 'GET', headers } = request
    const { 'proxy-connection': _, 'proxy-authorization': __, ...others } = headers
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
    try {
      const answered = await this.#mesh.http(proxied.service).request(method, proxied.path, {
        headers: { ...others, host: proxied.service },
        ...(hasBody && { body: request }),
        streaming: true,
        signal: gone.signal,
      })
      response.writeHead(answered.status, [...answered.headers].flat())
      response.flushHeaders()
      await pipeline(Readable.fromWeb(answered.body as never), response)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else answer(response, statusOf(error), printable(reasonOf(error)))
    }
  }

  /** The far side answers the handshake, so its answer is passed on as it is. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const proxied = readProxied(request, this.port)
    if ('status' in proxied) {
      refuse(socket, proxied)
      return
    }
    let far: Socket
    try {
      far = this.#mesh.createConnection(proxied.service)({} as never)
    } catch (error) {
      refuse(socket, { status: 404, message: reasonOf(error) })
      return
    }
    this.#upgraded.add(socket)
    const end = (): void => {
      this.#upgraded.delete(socket)
      socket.destroy()
      far.destroy()
    }
    let heard = false
    far.once('data', () => {
      heard = true
    })
    far.on('error', (error) => {
      if (!heard && !socket.destroyed) refuse(socket, { status: 502, message: printable(reasonOf(error)) })
      end()
    })
    far.once('close', end)
    socket.once('close', end)
    far.write(headOf(request, proxied))
    if (head.length > 0) far.write(head)
    socket.pipe(far).pipe(socket)
  }
}

function headOf({ method, rawHeaders }: IncomingMessage, { service, path }: { service: string; path: string }): string {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${service}`]
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!/^(?:host|proxy-.*)$/i.test(rawHeaders[i]!)) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

function answer(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' })
  response.end(`${message}\n`)
}

function refuse(socket: Duplex, proxied: Proxied | { readonly status: 502; readonly message: string }): void {
  const { status, message } =
    'status' in proxied ? proxied : { status: 501, message: 'The proxy carries http:// only.' }
  const body = `${message}\n`
  const head = `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

/** As a gateway answers. */
const STATUSES: Partial<Record<ErrorCode, number>> = {
  'deadline-exceeded': 504,
  'attempt-timeout': 504,
  'no-endpoints': 503,
  'circuit-open': 503,
  overloaded: 503,
  throttled: 503,
}

function statusOf(error: unknown): number {
  return (isMeshError(error) ? STATUSES[error.code] : undefined) ?? 502
}
