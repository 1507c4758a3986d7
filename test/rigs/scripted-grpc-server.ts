/**
 * A gRPC server on plain `node:http2` that answers exactly as a test scripts it, with faults that
 * grpc-js's server cannot produce. The test supplies the bytes of messages; this puts them into
 * frames.
 */
import http2, { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import { OVER_MUX } from './mux-gateway.ts'
import { ScriptedMuxServer, type StreamListener } from './scripted-mux-server.ts'

/** What is done for one stream; called for each, with its number over all connections. */
export type GrpcScript = (call: ScriptedGrpcCall, headers: IncomingHttpHeaders, nth: number) => void | Promise<void>

export type Metadata = Readonly<Record<string, string | readonly string[]>>

export interface FrameLies {
  /** What the prefix says, whatever follows. */
  readonly length?: number
  /** The compressed flag, whatever the headers say. */
  readonly compressed?: boolean
}

/** A length-prefixed message. */
export function grpcFrame(
  message: Uint8Array,
  { length = message.length, compressed = false }: FrameLies = {},
): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = compressed ? 1 : 0
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, message])
}

export class ScriptedGrpcCall {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  /** The connection it came on, by number. */
  readonly connection: number
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | undefined

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, socket: Socket, connection: number) {
    this.stream = stream
    this.headers = headers
    this.connection = connection
    this.#socket = socket
    stream.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake?.()
    })
    stream.on('end', () => {
      // A reset by the client ends the body too.
      this.#ended = stream.rstCode === constants.NGHTTP2_NO_ERROR
      this.#wake?.()
    })
    stream.on('error', () => {})
    stream.on('close', () => this.#wake?.())
  }

  /**
   * The next request message; undefined once the client has half-closed. Rejects if the stream is
   * gone.
   */
  async message(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#received.length >= 5) {
        const end = 5 + this.#received.readUInt32BE(1)
        if (this.#received.length >= end) {
          const message = this.#received.subarray(5, end)
          this.#received = this.#received.subarray(end)
          return message
        }
      }
      if (this.#ended) return undefined
      if (this.gone) throw new Error(`the client gave the stream up (${this.stream.rstCode})`)
      await this.#next()
    }
  }

  /** All request messages, once the client has half-closed. */
  async messages(): Promise<Buffer[]> {
    const all: Buffer[] = []
    for (let one = await this.message(); one !== undefined; one = await this.message()) all.push(one)
    return all
  }

  /** Reset by either side, or its connection ended. */
  get gone(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  /** Response headers; without it, {@link send} makes ordinary ones. */
  respond(metadata: Metadata = {}): void {
    if (this.gone) return
    const headers = { ':status': 200, 'content-type': 'application/grpc+proto', ...metadata }
    this.stream.respond(headers as http2.OutgoingHttpHeaders, { waitForTrailers: true })
  }

  send(message: Uint8Array, lies?: FrameLies): void {
    this.write(grpcFrame(message, lies))
  }

  /** Bytes of the response body as they are. */
  write(bytes: Uint8Array): void {
    if (!this.stream.headersSent) this.respond()
    if (!this.gone) this.stream.write(bytes)
  }

  /** Trailers, or headers that are trailers at once if nothing has been said yet. */
  finish(status = 0, message = '', metadata: Metadata = {}): void {
    if (this.gone) return
    const trailers = {
      'grpc-status': String(status),
      ...(message === '' ? {} : { 'grpc-message': message.replace(/[^ -$&-~]/gu, encodeURIComponent) }),
      ...metadata,
    } as http2.OutgoingHttpHeaders
    if (!this.stream.headersSent) {
      const headers = { ':status': 200, 'content-type': 'application/grpc+proto', ...trailers }
      this.stream.respond(headers, { endStream: true })
      return
    }
    this.stream.once('wantTrailers', () => this.stream.sendTrailers(trailers))
    this.stream.end()
  }

  /** One message and status 0: what most servers do. */
  answer(message: Uint8Array, metadata: Metadata = {}): void {
    this.respond(metadata)
    this.send(message)
    this.finish()
  }

  /** The end of the response body without any trailers. */
  endWithoutTrailers(): void {
    if (this.gone) return
    if (!this.stream.headersSent) this.respond()
    this.stream.once('wantTrailers', () => this.stream.sendTrailers({}))
    this.stream.end()
  }

  /** Something on the way answers that does not know gRPC. */
  answerHttp(status: number, body = '', headers: Metadata = {}): void {
    if (this.gone) return
    const all = { ':status': status, 'content-type': 'text/plain', ...headers }
    this.stream.respond(all as http2.OutgoingHttpHeaders)
    this.stream.end(body)
  }

  /** RST_STREAM that promises that nothing was executed. */
  refuse(): void {
    this.reset(constants.NGHTTP2_REFUSED_STREAM)
  }

  /** RST_STREAM. */
  reset(code: number = constants.NGHTTP2_INTERNAL_ERROR): void {
    this.stream.close(code)
  }

  /**
   * GOAWAY on the connection; `lastStreamId` is this stream unless said otherwise, and 0 means that
   * nothing was executed.
   */
  goAway({ lastStreamId = this.stream.id ?? 0, code = constants.NGHTTP2_NO_ERROR } = {}): void {
    if (lastStreamId !== 0 || OVER_MUX) {
      this.stream.session?.goaway(code, lastStreamId)
      return
    }
    // Node takes 0 for "the last one processed", so these bytes go past it.
    const frame = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    frame.writeUInt32BE(code, 13)
    this.#socket.write(frame)
  }

  /** Says nothing, until the client gives up or the connection ends. */
  async stall(): Promise<void> {
    while (!this.gone) await this.#next()
  }

  /** One byte of a message each `everyMs`, until all are sent or the stream is gone. */
  async trickle(message: Uint8Array, everyMs: number): Promise<void> {
    for (const byte of grpcFrame(message)) {
      if (this.gone) return
      this.write(Uint8Array.of(byte))
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
  }

  /** RST of the whole connection; given a message, after its first half has been sent. */
  async break(message?: Uint8Array): Promise<void> {
    if (message !== undefined && !this.gone) {
      const frame = grpcFrame(message)
      if (!this.stream.headersSent) this.respond()
      await new Promise<void>((resolve) => {
        this.stream.write(frame.subarray(0, Math.ceil(frame.length / 2)), () => resolve())
        this.stream.once('close', resolve)
      })
      // The callback says that HTTP/2 took it; one more turn and the kernel has it.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#socket.destroy()
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

export interface ScriptedGrpcOptions {
  /** Speaks TLS with these instead of plain HTTP/2. */
  readonly tls?: http2.SecureServerOptions
  readonly settings?: http2.Settings
  /** Over HTTP/2, whatever this run is over. */
  readonly http2?: boolean
}

export class ScriptedGrpcServer {
  readonly #server: NetServer
  /** Those that are open. */
  readonly #sessions: Set<{ destroy(): void }>
  /** Every stream there was, with its headers. */
  readonly calls: ScriptedGrpcCall[] = []
  readonly #script: GrpcScript
  readonly #mux: ScriptedMuxServer | undefined
  #http2Connections = 0

  constructor(script: GrpcScript, { tls, settings, http2: only = false }: ScriptedGrpcOptions = {}) {
    this.#script = script
    if (OVER_MUX && !only) {
      const begin: StreamListener = (...given) => this.#begin(...given)
      this.#mux = new ScriptedMuxServer(begin, tls, settings?.maxConcurrentStreams)
      this.#server = this.#mux.server
      this.#sessions = this.#mux.sessions
    } else {
      this.#sessions = new Set()
      this.#server = this.#http2Server(tls, settings)
    }
  }

  get connections(): number {
    return this.#mux?.connections ?? this.#http2Connections
  }

  #http2Server(tls: http2.SecureServerOptions | undefined, settings: http2.Settings | undefined): NetServer {
    const server =
      tls === undefined
        ? http2.createServer({ settings })
        : http2.createSecureServer({ settings, ALPNProtocols: ['h2'], ...tls })
    // Sessions hand out proxies of their sockets, which cannot be written to or destroyed.
    let accepted: Socket
    server.prependListener(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      accepted = socket
    })
    server.on('session', (session: ServerHttp2Session) => {
      const socket = accepted
      const connection = this.#http2Connections++
      this.#sessions.add(session)
      session.on('error', () => {})
      session.on('close', () => this.#sessions.delete(session))
      session.on('stream', (stream, headers) => this.#begin(stream, headers, socket, connection))
    })
    server.on('sessionError', () => {})
    return server
  }

  #begin(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, socket: Socket, connection: number): void {
    const call = new ScriptedGrpcCall(stream, headers, socket, connection)
    const nth = this.calls.push(call) - 1
    void Promise.resolve(this.#script(call, headers, nth)).catch(() => call.reset())
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  get streams(): number {
    return this.calls.length
  }

  get open(): number {
    return this.#sessions.size
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
