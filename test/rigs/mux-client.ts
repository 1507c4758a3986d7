/** A client of `inmesh/1` that does what a test says: no pool, no retries, no credit by itself. */
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../src/mux/settings.ts'
import type { MuxReset, MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { RESET } from '../../src/mux/wire.ts'

export interface MuxAsked {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string | readonly string[]>
  readonly body?: string | Uint8Array
  /** More of the request follows: by `stream.write` and `stream.end`. */
  readonly open?: boolean
  /** Credits what has arrived at once. @defaultValue true */
  readonly reads?: boolean
}

export class StreamReset extends Error {
  readonly reset: MuxReset

  constructor(reset: MuxReset) {
    super(`reset: ${reset.code} ${reset.reason}`)
    this.reset = reset
  }
}

export class MuxAnswer implements StreamEvents {
  status = 0
  reason = ''
  headers: Record<string, string | string[] | undefined> = {}
  readonly informational: { readonly status: number; readonly headers: string[] }[] = []
  readonly chunks: Buffer[] = []
  trailers: string[] | undefined = undefined
  /** The reset after a whole answer. */
  lateReset: MuxReset | undefined = undefined
  unread = 0
  stream!: MuxStream
  readonly #head = Promise.withResolvers<this>()
  readonly #done = Promise.withResolvers<this>()
  readonly #reads: boolean
  #whole = false
  onDrained = (): void => {}

  constructor(reads: boolean) {
    this.#reads = reads
    this.head.catch(() => undefined)
    this.done.catch(() => undefined)
  }

  get head(): Promise<this> {
    return this.#head.promise
  }

  get done(): Promise<this> {
    return this.#done.promise
  }

  get body(): string {
    return Buffer.concat(this.chunks).toString()
  }

  responseArrived(_stream: MuxStream, status: number, reason: string, headers: string[], end: boolean): void {
    if (status < 200) {
      this.informational.push({ status, headers })
      return
    }
    this.status = status
    this.reason = reason
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i]!
      const before = this.headers[name]
      if (name === 'set-cookie') this.headers[name] = [...((before as string[] | undefined) ?? []), headers[i + 1]!]
      else this.headers[name] = before === undefined ? headers[i + 1]! : `${before as string}, ${headers[i + 1]!}`
    }
    this.#head.resolve(this)
    if (end) this.#end()
  }

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.chunks.push(chunk)
    if (this.#reads) stream.read(chunk.length)
    else this.unread += chunk.length
    if (end) this.#end()
  }

  trailersArrived(_stream: MuxStream, headers: string[]): void {
    this.trailers = headers
    this.#end()
  }

  wasReset(_stream: MuxStream, reset: MuxReset): void {
    if (this.#whole) this.lateReset = reset
    else {
      this.#head.reject(new StreamReset(reset))
      this.#done.reject(new StreamReset(reset))
    }
  }

  drained(): void {
    this.onDrained()
  }

  #end(): void {
    this.#whole = true
    this.#done.resolve(this)
  }
}

export class MuxClient implements SessionEvents {
  readonly socket: Socket
  readonly session: MuxSession
  readonly settledOnce = Promise.withResolvers<void>()
  readonly ended = Promise.withResolvers<void>()
  #pinged = Promise.withResolvers<void>()
  goAway: { readonly last: number; readonly code: number; readonly reason: string } | undefined = undefined

  constructor(socket: Socket, settings: MuxSettings = { ...MUX_DEFAULTS, maxStreams: 0 }) {
    this.socket = socket
    this.session = new MuxSession(socket, 'client', settings, systemClock, this)
    socket.on('data', (bytes: Buffer) => this.session.receive(bytes))
  }

  /** Resolves when the server's SETTINGS have arrived; rejects if the connection closes before. */
  static async open(port: number, tls?: object, settings?: MuxSettings): Promise<MuxClient> {
    const host = '127.0.0.1'
    const socket =
      tls === undefined ? connect(port, host) : tlsConnect({ port, host, ALPNProtocols: ['inmesh/1'], ...tls })
    const client = new MuxClient(socket, settings)
    await client.settledOnce.promise
    return client
  }

  ask({ method = 'GET', path = '/', headers = {}, body, open = false, reads = true }: MuxAsked = {}): MuxAnswer {
    const answer = new MuxAnswer(reads)
    const flat: string[] = headers.host === undefined ? ['host', `127.0.0.1:${this.socket.remotePort}`] : []
    for (const [name, value] of Object.entries(headers)) {
      for (const one of typeof value === 'string' ? [value] : value) flat.push(name.toLowerCase(), one)
    }
    if (body !== undefined && !open && headers['content-length'] === undefined) {
      flat.push('content-length', String(Buffer.byteLength(body)))
    }
    answer.stream = this.session.request(method, path, flat, body, !open, answer)
    return answer
  }

  cancel({ stream }: MuxAnswer): void {
    stream.reset(RESET.CANCELLED)
  }

  /** Resolves when the server has read what was sent so far. */
  async roundTrip(): Promise<void> {
    this.#pinged = Promise.withResolvers()
    this.session.ping()
    await this.#pinged.promise
  }

  close(): void {
    this.session.destroy()
  }

  pingAnswered(): void {
    this.#pinged.resolve()
  }

  requestArrived(): void {}

  settled(): void {
    this.settledOnce.resolve()
  }

  goingAway(last: number, code: number, reason: string): void {
    this.goAway = { last, code, reason }
  }

  roomChanged(): void {}

  broken(): void {}

  closed(cause: Error | undefined): void {
    this.settledOnce.reject(cause ?? new Error('the connection was closed'))
    this.settledOnce.promise.catch(() => undefined)
    this.#pinged.resolve()
    this.ended.resolve()
  }
}
