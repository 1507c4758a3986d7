/**
 * Stands for grpc-js's `BaseServerInterceptingCall` on a stream of the mux, at a third of its cost.
 * Messages are uncompressed, and nothing is traced.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { TLSSocket } from 'node:tls'
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'
import {
  type MessageListener,
  MessageReader,
  MessageTooLarge,
  PREFIX_BYTES,
  withPrefix,
} from '../../net/grpc-message-reader.ts'
import type { InnerCall } from './intercepted-call.ts'
import type { Handler } from './internals.ts'
import type { GrpcMuxStream, StreamReader } from './mux-stream.ts'
import type { PartialStatusObject } from './status.ts'

type InboundListener = Parameters<InnerCall['start']>[0]

/** What all direct calls of a server share. */
export interface DirectSettings {
  readonly Metadata: typeof grpc.Metadata
  readonly MetricsRecorder: new () => ReturnType<InnerCall['getMetricsRecorder']>
  /** In bytes. */
  readonly maxReceive: number
  readonly maxSend: number
}

const HEAD: OutgoingHttpHeaders = Object.freeze({ ':status': 200, 'content-type': 'application/grpc+proto' })
const WITH_TRAILERS = Object.freeze({ waitForTrailers: true })
const ALONE = Object.freeze({ endStream: true })
const NONE: unknown[] = []

export class DirectCall implements InnerCall, MessageListener, StreamReader {
  readonly #stream: GrpcMuxStream
  readonly #handler: Handler
  readonly #settings: DirectSettings
  readonly #headers: IncomingHttpHeaders
  readonly #reader: MessageReader
  /** Bytes of messages. */
  received = 0
  sent = 0
  #listener: InboundListener | undefined = undefined
  /** Messages for which no read waits yet. */
  #messages = NONE
  /** A read waits. */
  #wanted = false
  #halfClosed = false
  /** The handler has learned it. */
  #ended = false
  #headSent = false
  /** The status, which follows the last message. */
  #trailers: OutgoingHttpHeaders | undefined = undefined
  #over = false
  #recorder: ReturnType<InnerCall['getMetricsRecorder']> | undefined = undefined

  constructor(stream: GrpcMuxStream, headers: IncomingHttpHeaders, handler: Handler, settings: DirectSettings) {
    this.#stream = stream
    this.#headers = headers
    this.#handler = handler
    this.#settings = settings
    this.#reader = new MessageReader(this, settings.maxReceive)
    stream.reader = this
  }

  // The requests.

  start(listener: InboundListener): void {
    this.#listener = listener
    if (this.#isOver()) return
    const metadata = this.#settings.Metadata.fromHttp2Headers(this.#headers)
    // The others that handlers do not see are gone already.
    metadata.remove('grpc-encoding')
    metadata.remove('content-type')
    listener.onReceiveMetadata(metadata)
  }

  startRead(): void {
    if (this.#isOver()) return
    this.#wanted = true
    if (this.#messages.length > 0 || this.#halfClosed) this.#deliver()
    else this.#stream.resume()
  }

  dataArrived(chunk: Buffer): void {
    if (this.#isOver()) return
    try {
      this.#reader.push(chunk)
    } catch (error) {
      if (!(error instanceof MessageTooLarge)) throw error
      this.sendStatus({ code: GRPC_STATUS.RESOURCE_EXHAUSTED, details: error.message })
    }
  }

  /** A flag of compression without an encoding is ignored, as grpc-js does. */
  messageArrived(message: Buffer): void {
    if (this.#isOver()) return
    this.received += message.length
    this.#stream.pause()
    let value: unknown
    try {
      value = this.#handler.deserialize(message)
    } catch {
      this.sendStatus({ code: GRPC_STATUS.INTERNAL, details: 'Error deserializing request' })
      return
    }
    if (this.#messages === NONE) this.#messages = [value]
    else this.#messages.push(value)
    this.#deliver()
  }

  requestsEnded(): void {
    this.#halfClosed = true
    this.#deliver()
  }

  /** A message has begun and is not complete. */
  get withinMessage(): boolean {
    return this.#reader.within
  }

  #deliver(): void {
    if (!this.#wanted || this.#listener === undefined) return
    if (this.#messages.length > 0) {
      this.#wanted = false
      this.#listener.onReceiveMessage(this.#messages.shift())
    } else if (this.#halfClosed && !this.#ended) {
      this.#wanted = false
      this.#ended = true
      this.#listener.onReceiveHalfClose()
    }
  }

  // The answer.

  sendMetadata(metadata?: grpc.Metadata): void {
    if (this.#isOver() || this.#headSent) return
    this.#headSent = true
    const custom = metadata?.toHttp2Headers()
    this.#stream.respond(custom === undefined ? HEAD : { ...HEAD, ...custom }, WITH_TRAILERS)
  }

  sendMessage(message: unknown, sent: () => void): void {
    if (this.#isOver()) return
    let framed: Buffer
    try {
      framed = withPrefix(this.#handler.serialize(message))
    } catch {
      this.sendStatus({ code: GRPC_STATUS.INTERNAL, details: 'Error serializing response' })
      return
    }
    const { maxSend } = this.#settings
    if (framed.length - PREFIX_BYTES > maxSend) {
      const details = `Sent message larger than max (${framed.length} vs. ${maxSend})`
      this.sendStatus({ code: GRPC_STATUS.RESOURCE_EXHAUSTED, details })
      return
    }
    this.sent += framed.length - PREFIX_BYTES
    this.sendMetadata()
    this.#stream.write(framed, sent)
  }

  sendStatus({ code, details, metadata }: PartialStatusObject): void {
    if (this.#isOver()) return
    const trailers: OutgoingHttpHeaders = { 'grpc-status': code, 'grpc-message': encodeURI(details ?? '') }
    if (metadata) Object.assign(trailers, metadata.toHttp2Headers())
    if (!this.#headSent) {
      this.#headSent = true
      this.#stream.respond({ ...HEAD, ...trailers }, ALONE)
      this.#finish()
    } else if (this.#trailers !== undefined) this.#finish()
    else {
      this.#trailers = trailers
      this.#stream.end()
    }
  }

  trailersWanted(): void {
    this.#stream.sendTrailers(this.#trailers!)
    this.#finish()
  }

  // The end.

  closed(): void {
    this.#finish()
  }

  #isOver(): boolean {
    if (!this.#over && (this.#stream.destroyed || this.#stream.closed)) this.#finish()
    return this.#over
  }

  /** Every call ends with it, also after a status. */
  #finish(): void {
    if (this.#over) return
    this.#over = true
    process.nextTick(notify, this)
    // What still arrives is dropped.
    this.#stream.resume()
  }

  /** @internal */
  notify(): void {
    this.#listener?.onCancel()
  }

  // What handlers ask of their call.

  getPeer(): string {
    const { remoteAddress, remotePort } = this.#stream.session.socket
    if (!remoteAddress) return 'unknown'
    return remotePort ? `${remoteAddress}:${remotePort}` : remoteAddress
  }

  /** The mesh watches the deadline. */
  getDeadline(): number {
    return Number.POSITIVE_INFINITY
  }

  getHost(): string {
    return (this.#headers[':authority'] ?? this.#headers.host) as string
  }

  getAuthContext(): ReturnType<InnerCall['getAuthContext']> {
    const { socket } = this.#stream.session
    if (!(socket instanceof TLSSocket) || !socket.authorized) return {}
    const certificate = socket.getPeerCertificate()
    return {
      transportSecurityType: 'ssl',
      ...(certificate.raw !== undefined && { sslPeerCertificate: certificate }),
    }
  }

  getConnectionInfo(): ReturnType<InnerCall['getConnectionInfo']> {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#stream.session.socket
    return { localAddress, localPort, remoteAddress, remotePort }
  }

  getMetricsRecorder(): ReturnType<InnerCall['getMetricsRecorder']> {
    this.#recorder ??= new this.#settings.MetricsRecorder()
    return this.#recorder
  }
}

function notify(call: DirectCall): void {
  call.notify()
}
