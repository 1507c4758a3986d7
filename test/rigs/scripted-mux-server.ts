/** `inmesh/1` for a scripted gRPC server: each stream is one as `node:http2` would give it. */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createSecureServer, type TlsOptions } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { FrameWriter } from '../../src/mux/frame-writer.ts'
import { MuxSession } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { MuxStream } from '../../src/mux/stream.ts'
import { FLAG, FRAME, GOAWAY } from '../../src/mux/wire.ts'
import { GrpcMuxStream } from '../../src/server/grpc/mux-stream.ts'

/** Takes each stream of each connection. */
export type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  socket: Socket,
  connection: number,
) => void

export class ScriptedMuxServer {
  readonly server: Server
  readonly sessions = new Set<ScriptedSession>()
  connections = 0

  constructor(onStream: StreamListener, tls: TlsOptions | undefined, maxStreams: number | undefined) {
    const accept = (socket: Socket): void => {
      const session = new ScriptedSession(socket, this.connections++, onStream, maxStreams ?? MUX_DEFAULTS.maxStreams)
      this.sessions.add(session)
      socket.on('error', () => {})
      socket.on('close', () => this.sessions.delete(session))
    }
    this.server =
      tls === undefined ? createServer(accept) : createSecureServer({ ...tls, ALPNProtocols: ['inmesh/1'] }, accept)
    this.server.on('tlsClientError', () => {})
  }
}

class ScriptedSession {
  readonly socket: Socket
  readonly #session: MuxSession

  constructor(socket: Socket, nth: number, onStream: StreamListener, maxStreams: number) {
    this.socket = socket
    this.#session = new MuxSession(socket, 'server', { ...MUX_DEFAULTS, maxStreams }, systemClock, {
      requestArrived: (stream, method, path, headers, end) =>
        onStream(this.#streamOf(stream, end), headersOf(method, path, headers), socket, nth),
      settled() {},
      goingAway() {},
      roomChanged() {},
      broken() {},
      closed() {},
    })
    socket.on('data', (bytes: Buffer) => this.#session.receive(bytes))
  }

  #streamOf(stream: MuxStream, end: boolean): ServerHttp2Stream {
    return new ScriptedStream(stream, this as never, end, stream.id) as unknown as ServerHttp2Stream
  }

  get closed(): boolean {
    return this.#session.leaving
  }

  goaway(code: number, lastStream?: number): void {
    const writer = new FrameWriter(() => {})
    const last = lastStream ?? 0
    writer.goAway(last, code === constants.NGHTTP2_ENHANCE_YOUR_CALM ? GOAWAY.FLOOD : GOAWAY.NO_ERROR, '')
    this.socket.write(Buffer.from(writer.piece!.subarray(0, writer.at)))
  }

  /** Calls back when the client has answered. */
  ping(done: () => void): void {
    this.#session.ping()
    const look = (bytes: Buffer): void => {
      if (!bytes.includes(PING_ANSWER)) return
      this.socket.off('data', look)
      // The client's application has its turn, too.
      setImmediate(() => setImmediate(done))
    }
    this.socket.on('data', look)
  }

  destroy(): void {
    this.socket.destroy()
  }
}

/** The head of a PING with ACK. */
const PING_ANSWER = Buffer.from([0, 0, 8, FRAME.PING, FLAG.ACK, 0, 0, 0, 0])

/** Flows once it is listened to, as streams of Node do. */
class ScriptedStream extends GrpcMuxStream {
  readonly id: number

  constructor(stream: MuxStream, session: { readonly socket: Socket }, received: boolean, id: number) {
    super(stream, session, received)
    this.id = id
  }

  override on(name: string, listener: (...given: never[]) => void): this {
    super.on(name, listener as never)
    if (name === 'data') setImmediate(() => this.resume())
    return this
  }
}

/** As they are called over HTTP/2. */
const GRPC_NAMES: Readonly<Record<string, string>> = {
  host: ':authority',
  'inmesh-timeout-ms': 'grpc-timeout',
  'inmesh-previous-attempts': 'grpc-previous-rpc-attempts',
}

function headersOf(method: string, path: string, flat: readonly string[]): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = { ':method': method, ':path': path, ':scheme': 'http' }
  for (let i = 0; i < flat.length; i += 2) {
    const name = GRPC_NAMES[flat[i]!] ?? flat[i]!
    const value = flat[i] === 'inmesh-timeout-ms' ? `${flat[i + 1]!}m` : flat[i + 1]!
    const before = headers[name]
    headers[name] = before === undefined ? value : `${String(before)}, ${value}`
  }
  return headers
}
