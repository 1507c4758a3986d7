/**
 * Lets a server that speaks HTTP/1.1 answer `inmesh/1` on the same port: each stream becomes a
 * request on a connection within this process. So a test of the client runs over both transports.
 */
import { Agent, type IncomingMessage, request, STATUS_CODES } from 'node:http'
import type { Server, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type TlsOptions, Server as TlsServer } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import type { TransportPreference } from '../../src/core/transport.ts'
import { MuxSession } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { ALPN_MUX, RESET } from '../../src/mux/wire.ts'

/** Whether this run is over `inmesh/1`. */
export const OVER_MUX: boolean = process.env.INMESH_TRANSPORT === 'auto'
/** For transports that a test makes without a mesh. */
export const PREFERENCE: TransportPreference = OVER_MUX ? 'auto' : 'http1'

/** Of a TLS server: what this run is over. */
export const OFFERED: TlsOptions = { ALPNProtocols: OVER_MUX ? [ALPN_MUX, 'http/1.1'] : ['http/1.1'] }

/**
 * Makes `server`, an `http.Server`, a `net.Server` or an `https.Server`, answer both. Returns how
 * to cut its connections.
 */
export function answerMux(server: Server): () => void {
  const open = new Set<Socket>()
  const connected = server instanceof TlsServer ? 'secureConnection' : 'connection'
  const serve = server.listeners(connected).map((listener) => listener.bind(server))
  server.removeAllListeners(connected)
  server.on(connected, (socket: Socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => {})
    socket.once('data', (first) => {
      if (first[0] === 0) {
        gateway(socket, first, (virtual) => {
          for (const one of serve) one(virtual)
        })
        return
      }
      socket.pause()
      socket.unshift(first)
      for (const one of serve) one(socket)
      socket.resume()
    })
  })
  return () => {
    for (const socket of open) socket.destroy()
  }
}

/** One end of a connection within the process; like a socket as far as `node:http` looks. */
class VirtualSocket extends Duplex {
  other!: VirtualSocket
  remoteAddress = '127.0.0.1'
  #waiting: (() => void) | undefined = undefined

  constructor() {
    super({ allowHalfOpen: false })
  }

  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  resetAndDestroy(): void {
    this.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
  }
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  override _read(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.other.destroyed || this.other.push(chunk)) setImmediate(done)
    else this.other.#waiting = done
  }
  override _final(done: () => void): void {
    this.other.push(null)
    done()
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    setImmediate(() => {
      if (this.other.destroyed) return
      if (error === null) this.other.push(null)
      else this.other.destroy(error)
      if (error === null) setImmediate(() => this.other.destroy())
    })
    done(error)
  }
}

function gateway(socket: Socket, first: Buffer, serve: (socket: Duplex) => void): void {
  const agent = new Agent({ keepAlive: true, scheduling: 'lifo' })
  agent.createConnection = () => {
    const [ours, theirs] = [new VirtualSocket(), new VirtualSocket()]
    ours.other = theirs
    theirs.other = ours
    ours.on('error', () => {})
    theirs.on('error', () => {})
    serve(theirs)
    return ours
  }
  const session = new MuxSession(socket, 'server', MUX_DEFAULTS, systemClock, {
    requestArrived(stream, method, path, headers, end) {
      stream.events = new Forwarded(session, agent, stream, method, path, headers, end)
    },
    settled() {},
    goingAway() {},
    roomChanged() {},
    broken() {},
    closed: () => agent.destroy(),
  })
  socket.on('data', (bytes: Buffer) => session.receive(bytes))
  session.receive(first)
}

class Forwarded implements StreamEvents {
  readonly #session: MuxSession
  readonly #stream: MuxStream
  readonly #request: ReturnType<typeof request>
  #response: IncomingMessage | undefined
  #over = false

  constructor(
    session: MuxSession,
    agent: Agent,
    stream: MuxStream,
    method: string,
    path: string,
    headers: string[],
    end: boolean,
  ) {
    this.#session = session
    this.#stream = stream
    const chunked = !end && !headers.includes('content-length')
    this.#request = request({
      agent,
      method,
      path,
      headers: chunked ? [...headers, 'transfer-encoding', 'chunked'] : headers,
    })
    this.#request.on('information', ({ statusCode, statusMessage, rawHeaders }) =>
      stream.respond(statusCode, phrase(statusCode, statusMessage), flat(rawHeaders), undefined, false),
    )
    this.#request.on('response', (response) => this.#answer(response))
    this.#request.on('error', (error) => this.#fail(error))
    if (end) this.#request.end()
  }

  responseArrived(): void {}

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.#request.write(chunk, () => stream.read(chunk.length))
    if (end) this.#request.end()
  }

  trailersArrived(): void {
    this.#request.end()
  }

  wasReset(): void {
    this.#over = true
    this.#request.destroy()
  }

  drained(): void {
    this.#response?.resume()
  }

  #answer(response: IncomingMessage): void {
    this.#response = response
    const stream = this.#stream
    const status = response.statusCode!
    stream.respond(status, phrase(status, response.statusMessage!), flat(response.rawHeaders), undefined, false)
    response.on('data', (chunk: Buffer) => {
      if (!stream.write(chunk)) response.pause()
    })
    response.on('error', (error) => this.#fail(error))
    response.on('end', () => {
      if (!response.complete) this.#fail(new Error('cut off'))
      else if (!this.#over) {
        this.#over = true
        stream.end(response.rawTrailers.length > 0 ? flat(response.rawTrailers) : undefined)
      }
    })
  }

  /** Alone on its connection, it takes the connection with it, as in HTTP/1.1. */
  #fail(error: Error): void {
    if (this.#over) return
    this.#over = true
    if ((error as NodeJS.ErrnoException).code?.startsWith('HPE_') === true && error.message.includes('EOF') === false) {
      this.#stream.reset(RESET.PROTOCOL_ERROR, error.message.slice(0, 100))
    } else if (this.#session.open === 1) this.#session.socket.resetAndDestroy()
    else this.#stream.reset(RESET.INTERNAL_ERROR, error.message.slice(0, 100))
  }
}

function phrase(status: number, text: string): string {
  return text === STATUS_CODES[status] ? '' : text
}

const OF_CONNECTIONS = new Set(['connection', 'keep-alive', 'transfer-encoding'])

function flat(raw: readonly string[]): string[] {
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    if (!OF_CONNECTIONS.has(name)) headers.push(name, raw[i + 1]!)
  }
  return headers
}
