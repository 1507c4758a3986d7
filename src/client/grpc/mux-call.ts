/**
 * One call on a mux connection, as grpc-js's call is on a channel. A request that is whole in the
 * turn of its begin leaves in one frame; one that is cancelled in this turn is not sent.
 *
 * - waiting -> begun: it has a second message, or the turn of the event loop ends
 * - begun -> answered: trailers are here · begun -> broken: reset, or what came is not gRPC
 * - any -> over: the status is given, or the owner cancels
 */
import type * as grpc from '@grpc/grpc-js'
import { outcome as makeOutcome, type Outcome } from '../../core/outcome.ts'
import { GRPC_STATUS, grpcStatusOfHttp } from '../../core/status.ts'
import { isUnsendable } from '../../mux/head-writer.ts'
import type { MuxReset, MuxStream, StreamEvents } from '../../mux/stream.ts'
import { RESET } from '../../mux/wire.ts'
import { type MessageListener, MessageReader, withPrefix } from '../../net/grpc-message-reader.ts'
import type { CallOwner } from './connection.ts'
import { decompress, type Unreadable } from './decompress.ts'
import type { CarriedCall, MessageContext } from './grpc-js.ts'
import { decisive, encodingOf, isOfCompression, isOfStatus, metadataOf } from './mux-headers.ts'
import { outcomeOfReset } from './mux-outcome.ts'
import type { CarryingStream } from './stream.ts'

type Written = MessageContext['callback']
export type AuthContext = ReturnType<CarriedCall['getAuthContext']>

/** What a call needs of its connection. */
export interface MuxCallHost {
  readonly Metadata: new () => grpc.Metadata
  readonly authContext: AuthContext
  /** The peer takes no more calls on the connection. */
  readonly isLeft: boolean
  request(path: string, headers: string[], body: Buffer | undefined, end: boolean, events: StreamEvents): MuxStream
}

const NOTHING: (Buffer | Compressed)[] = []

export class MuxCall implements CarriedCall, CarryingStream, StreamEvents, MessageListener {
  readonly #host: MuxCallHost
  readonly #owner: CallOwner
  readonly #path: string
  readonly #headers: string[]
  readonly #reader: MessageReader
  readonly #most: number
  /** It has asked for its stream, and may not have got it. */
  asked = false
  #stream: MuxStream | undefined = undefined
  /** The first message, while the call waits. */
  #first: Buffer | undefined = undefined
  #halfClosed = false
  /** Called when the stream takes more. */
  #written: Written = undefined
  #reading = false
  #delivering = false
  /** Messages that were not asked for yet. */
  #messages = NOTHING
  #encoding = 'identity'
  /** Bytes received and not credited. */
  #unread = 0
  #reset: MuxReset | undefined = undefined
  #status: grpc.StatusObject | undefined = undefined
  /** Only C core answers for what its GOAWAY cut short, and it speaks HTTP/2. */
  readonly isLeft = false
  /** The status was made up: the answer has no further message. */
  #broken = false
  #over = false

  constructor(host: MuxCallHost, owner: CallOwner, path: string, headers: string[], most: number) {
    this.#host = host
    this.#owner = owner
    this.#path = path
    this.#headers = headers
    this.#most = most
    this.#reader = new MessageReader(this, most)
  }

  // The owner's side.

  sendMessageWithContext({ callback }: MessageContext, message: Buffer): void {
    if (this.#over || this.#status !== undefined) return
    const framed = withPrefix(message)
    if (this.#stream === undefined && this.#first === undefined) this.#first = framed
    else {
      this.begin()
      if (this.#stream?.write(framed) === false) {
        this.#written = callback
        return
      }
    }
    callback?.()
  }

  halfClose(): void {
    if (this.#halfClosed || this.#over) return
    this.#halfClosed = true
    this.#stream?.end()
  }

  startRead(): void {
    this.#reading = true
    this.#deliver()
  }

  cancelWithStatus(): void {
    if (this.#over) return
    this.#end()
    this.#stream?.reset(RESET.CANCELLED)
  }

  getAuthContext(): AuthContext {
    return this.#host.authContext
  }

  /** Sends the head with what there is of the request. */
  begin(): void {
    if (this.#stream !== undefined || this.#over || this.#status !== undefined) return
    const owner = this.#owner
    const first = this.#first
    this.#first = undefined
    owner.leaving = true
    owner.stream = this
    this.asked = true
    try {
      this.#stream = this.#host.request(this.#path, this.#headers, first, this.#halfClosed, this)
    } catch (error) {
      // Nothing was sent: no peer would take its metadata, or the connection has just ended.
      owner.leaving = false
      if (isUnsendable(error)) this.invalid = error
      this.#give(GRPC_STATUS.UNAVAILABLE, (error as Error).message)
    }
  }

  invalid: Error | undefined = undefined

  // The stream's side.

  responseArrived(_stream: MuxStream, status: number, _reason: string, headers: string[], end: boolean): void {
    if (status < 200 || this.#over) return
    this.#owner.httpStatus = status
    if (end) {
      this.#answered(headers, true)
      return
    }
    this.#encoding = encodingOf(headers) ?? 'identity'
    this.#owner.onReceiveMetadata(metadataOf(headers, this.#host.Metadata, isOfCompression))
  }

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    const { length } = chunk
    if (this.#over || this.#status !== undefined) {
      stream.read(length)
      return
    }
    this.#unread += length
    try {
      this.#reader.push(chunk)
    } catch (error) {
      this.#unreadable({ code: GRPC_STATUS.RESOURCE_EXHAUSTED, details: (error as Error).message })
      return
    }
    this.#owner.bytesArrived?.(length)
    if (end) this.#unanswered()
    else this.#credit()
  }

  trailersArrived(_stream: MuxStream, headers: string[]): void {
    // As HTTP/2 has it, there are none if they are empty.
    if (!this.#over) this.#answered(headers, headers.length > 0)
  }

  wasReset(_stream: MuxStream, reset: MuxReset): void {
    // A status that waits for its messages to be read stays.
    if (this.#over || this.#status !== undefined) return
    this.#reset = reset
    // It never left.
    if (!reset.executed && reset.code === undefined) this.#owner.leaving = false
    this.#give(GRPC_STATUS.UNAVAILABLE, reset.reason === '' ? 'the peer reset the stream' : reset.reason)
  }

  drained(): void {
    const written = this.#written
    this.#written = undefined
    // Its writer's code must not run within the session.
    if (written !== undefined) setImmediate(written)
  }

  messageArrived(message: Buffer, compressed: boolean): void {
    if (this.#over || this.#status !== undefined) return
    if (!compressed) {
      this.#keep(message)
      this.#deliver()
      return
    }
    this.#keep({ bytes: message, inflating: false })
    this.#deliver()
  }

  // What its end says.

  get endsWithin(): boolean {
    return this.#reader.within
  }

  broken(status: grpc.StatusObject, begun: boolean): Outcome {
    if (this.#reset !== undefined) return outcomeOfReset(this.#reset, status, begun, this.#host.isLeft)
    return makeOutcome('failure', 'protocol-error', new Error(status.details))
  }

  #keep(message: Buffer | Compressed): void {
    if (this.#messages === NOTHING) this.#messages = [message]
    else this.#messages.push(message)
  }

  /** A message for each read, then the status, which in a broken call waits for none. */
  #deliver(): void {
    if (this.#delivering || this.#over) return
    this.#delivering = true
    while (this.#reading && this.#messages.length > 0 && !this.#broken) {
      const first = this.#messages[0]!
      if (!Buffer.isBuffer(first)) {
        this.#inflate(first)
        break
      }
      this.#messages.shift()
      this.#reading = false
      this.#owner.onReceiveMessage(first)
      // The owner may have cancelled.
      if (this.#over) break
    }
    this.#delivering = false
    if (this.#over) return
    this.#credit()
    const status = this.#status
    if (status === undefined || (this.#messages.length > 0 && !this.#broken)) return
    this.#end()
    this.#owner.onReceiveStatus(status)
  }

  /** Not before it is read: a few bytes may become megabytes. */
  #inflate(message: Compressed): void {
    if (message.inflating) return
    message.inflating = true
    decompress(message.bytes, this.#encoding, this.#most, (problem, inflated) => {
      if (this.#over || this.#broken) return
      this.#messages[0] = inflated
      if (problem === undefined) this.#deliver()
      else this.#unreadable(problem)
    })
  }

  /** Bytes count as read when all whole messages have been given to the owner. */
  #credit(): void {
    if (this.#unread === 0 || this.#messages.length > 0) return
    this.#stream!.read(this.#unread)
    this.#unread = 0
  }

  #answered(headers: readonly string[], counts: boolean): void {
    if (this.#status !== undefined) return
    const trailers = decisive(headers)
    this.#owner.report = this.#stream?.load
    if (counts) this.#owner.trailers = trailers
    const said = trailers['grpc-status']
    const metadata = metadataOf(headers, this.#host.Metadata, isOfStatus)
    if (said === undefined) this.#unanswered(metadata)
    else {
      this.#status = { code: Number(said), details: String(trailers['grpc-message'] ?? ''), metadata }
      this.#leaveRequest()
      this.#deliver()
    }
  }

  /** The answer has ended without a status. */
  #unanswered(metadata?: grpc.Metadata): void {
    const { httpStatus } = this.#owner
    this.#leaveRequest()
    if (httpStatus === 200) this.#give(GRPC_STATUS.INTERNAL, 'Call ended without gRPC status', metadata)
    else this.#give(grpcStatusOfHttp(httpStatus), `Received HTTP status code ${httpStatus}`, metadata)
  }

  #unreadable({ code, details }: Unreadable): void {
    // The peer's status may be here already, and wait for this message.
    this.#stream!.reset(RESET.CANCELLED)
    this.#give(code, details)
  }

  #give(code: number, details: string, metadata = new this.#host.Metadata()): void {
    this.#status = { code, details, metadata }
    this.#broken = true
    this.#deliver()
  }

  /** What is left of the request does not matter any more. */
  #leaveRequest(): void {
    const stream = this.#stream!
    if (!stream.localEnded) stream.reset(RESET.NO_ERROR)
  }

  #end(): void {
    this.#over = true
    this.#messages = NOTHING
    this.#first = undefined
    this.#written = undefined
    if (this.#unread > 0) this.#stream!.read(this.#unread)
    this.#unread = 0
  }
}

/** A message that keeps its place until it is read. */
interface Compressed {
  readonly bytes: Buffer
  inflating: boolean
}
