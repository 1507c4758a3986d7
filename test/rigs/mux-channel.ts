/**
 * A channel of grpc-js over `inmesh/1`, for clients that know nothing of a mesh: they send what a
 * test gives, and nothing else.
 */
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import type { CallOwner } from '../../src/client/grpc/connection.ts'
import { MuxCall, type MuxCallHost } from '../../src/client/grpc/mux-call.ts'
import { systemClock } from '../../src/core/clock.ts'
import { MuxSession } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'

type GrpcJsCall = ReturnType<grpc.Channel['createCall']>

export interface MuxChannelOptions {
  readonly key?: string
  readonly cert?: string
  readonly ca?: string
  readonly largestMessage?: number
}

export class MuxChannel {
  readonly #port: number
  readonly #options: MuxChannelOptions
  #connection: Promise<MuxTestConnection> | undefined
  #current: MuxTestConnection | undefined
  #closed = false

  constructor(port: number, options: MuxChannelOptions = {}) {
    this.#port = port
    this.#options = options
  }

  createCall(path: string, deadline: grpc.Deadline, host: string | null | undefined): GrpcJsCall {
    const at = typeof deadline === 'number' ? deadline : deadline.getTime()
    return new MuxTestCall(this, path, at, host ?? 'inventory', this.#options.largestMessage ?? 4_194_304) as never
  }

  connection(): Promise<MuxTestConnection> {
    if (this.#current?.usable === false) this.#connection = this.#current = undefined
    this.#connection ??= MuxTestConnection.open(this.#port, this.#options).then((connection) => {
      if (this.#closed) connection.session.destroy()
      this.#current = connection
      return connection
    })
    return this.#connection
  }

  close(): void {
    this.#closed = true
    this.#current?.session.end()
  }

  getTarget(): string {
    return 'mux'
  }

  getConnectivityState(): grpc.connectivityState {
    return this.#current?.usable === true ? grpc.connectivityState.READY : grpc.connectivityState.IDLE
  }

  watchConnectivityState(_state: grpc.connectivityState, _deadline: unknown, done: () => void): void {
    this.connection().then(done, () => {})
  }

  getChannelzRef(): never {
    return { kind: 'channel', id: -1, name: 'mux' } as never
  }
}

class MuxTestConnection implements MuxCallHost {
  readonly Metadata = grpc.Metadata
  readonly authContext = {}
  readonly session: MuxSession
  readonly socket: Socket

  static open(port: number, { key, cert, ca }: MuxChannelOptions): Promise<MuxTestConnection> {
    const secure = { port, host: '127.0.0.1', key, cert, ca, checkServerIdentity: () => undefined }
    const socket =
      key === undefined
        ? connectPlain({ port, host: '127.0.0.1' })
        : connectSecure({ ...secure, servername: 'inventory', ALPNProtocols: ['inmesh/1'] })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('the connection closed')))
      const connection = new MuxTestConnection(socket, () => resolve(connection))
    })
  }

  constructor(socket: Socket, settled: () => void) {
    this.socket = socket
    this.session = new MuxSession(socket, 'client', { ...MUX_DEFAULTS, maxStreams: 0 }, systemClock, {
      requestArrived() {},
      settled,
      goingAway() {},
      roomChanged() {},
      broken() {},
      closed() {},
    })
    socket.on('data', (bytes: Buffer) => this.session.receive(bytes))
  }

  get usable(): boolean {
    return !this.session.leaving && !this.socket.destroyed
  }

  get isLeft(): boolean {
    return this.session.leaving
  }

  request(path: string, headers: string[], body: Buffer | undefined, end: boolean, events: StreamEvents): MuxStream {
    return this.session.request('POST', path, headers, body, end, events)
  }
}

class MuxTestCall implements CallOwner {
  leaving = false
  stream: CallOwner['stream'] = undefined
  httpStatus = 0
  trailers: CallOwner['trailers'] = undefined
  ended = false
  readonly #channel: MuxChannel
  readonly #path: string
  readonly #deadline: number
  readonly #host: string
  readonly #most: number
  #listener!: grpc.InterceptingListener
  #call: MuxCall | undefined
  /** What the client has done, for another attempt. */
  readonly #log: ((call: MuxCall) => void)[] = []
  #headers: string[] = []
  #begun = false
  #tries = 0
  #timer: NodeJS.Timeout | undefined

  constructor(channel: MuxChannel, path: string, deadline: number, host: string, most: number) {
    this.#channel = channel
    this.#path = path
    this.#deadline = deadline
    this.#host = host
    this.#most = most
  }

  start(metadata: grpc.Metadata, listener: grpc.InterceptingListener): void {
    this.#listener = listener
    const headers = ['host', this.#host, 'content-type', 'application/grpc', 'user-agent', 'grpc-node-js/test']
    for (const name of Object.keys(metadata.getMap())) {
      for (const value of metadata.get(name)) {
        headers.push(name, typeof value === 'string' ? value : value.toString('base64'))
      }
    }
    if (this.#deadline !== Number.POSITIVE_INFINITY) {
      const ms = Math.max(1, Math.ceil(this.#deadline - Date.now()))
      headers.push('grpc-timeout', ms < 1e8 ? `${ms}m` : `${Math.ceil(ms / 3_600_000)}H`)
      if (ms < 2 ** 31) {
        this.#timer = setTimeout(() => this.cancelWithStatus(grpc.status.DEADLINE_EXCEEDED, 'Deadline exceeded'), ms)
      }
    }
    this.#headers = headers
    this.#open()
  }

  #open(): void {
    this.#channel.connection().then(
      (connection) => {
        if (this.ended) return
        const call = new MuxCall(connection, this, this.#path, this.#headers, this.#most)
        this.#call = call
        for (const work of this.#log) work(call)
        setImmediate(() => call.begin())
      },
      ({ message }: Error) =>
        this.#end({ code: grpc.status.UNAVAILABLE, details: message, metadata: new grpc.Metadata() }),
    )
  }

  sendMessageWithContext(context: { callback?: () => void }, message: Buffer): void {
    this.#do((call) =>
      call.sendMessageWithContext({ callback: () => process.nextTick(() => context.callback?.()) }, message),
    )
  }

  halfClose(): void {
    this.#do((call) => call.halfClose())
  }

  startRead(): void {
    this.#do((call) => call.startRead())
  }

  cancelWithStatus(code: number, details: string): void {
    if (this.ended) return
    this.#call?.cancelWithStatus()
    this.#end({ code, details, metadata: new grpc.Metadata() })
  }

  setCredentials(): void {}
  getPeer(): string {
    return '127.0.0.1'
  }
  getCallNumber(): number {
    return 0
  }
  getAuthContext(): null {
    return null
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.#begun = true
    process.nextTick(() => this.#listener.onReceiveMetadata(metadata))
  }

  onReceiveMessage(message: Buffer): void {
    process.nextTick(() => this.#listener.onReceiveMessage(message))
  }

  onReceiveStatus(status: grpc.StatusObject): void {
    if (this.trailers?.['grpc-status'] !== undefined) status.details = decoded(status.details)
    else if (this.#wasRefused(status) && ++this.#tries < MOST_TRIES) {
      this.#call = undefined
      this.#open()
      return
    }
    process.nextTick(() => this.#end(status))
  }

  #do(work: (call: MuxCall) => void): void {
    this.#log.push(work)
    if (this.#call !== undefined) work(this.#call)
  }

  /** As clients of grpc-js repeat what a GOAWAY left behind. */
  #wasRefused(status: grpc.StatusObject): boolean {
    return !this.leaving || this.stream?.broken(status, this.#begun).verdict === 'refused'
  }

  #end(status: grpc.StatusObject): void {
    if (this.ended) return
    this.ended = true
    clearTimeout(this.#timer)
    process.nextTick(() => this.#listener.onReceiveStatus(status))
  }
}

const MOST_TRIES = 5

function decoded(details: string): string {
  try {
    return decodeURI(details)
  } catch {
    return details
  }
}
