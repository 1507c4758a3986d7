/**
 * Runs a unary handler as grpc-js does, and answers in its words. grpc-js hands it a whole
 * `Writable`, whose state costs more than the rest of the call.
 */
import { EventEmitter } from 'node:events'
import type * as grpc from '@grpc/grpc-js'
import { GRPC_STATUS } from '../../core/status.ts'
import type { InnerCall, InterceptedCall } from './intercepted-call.ts'
import type { Handler } from './internals.ts'
import type { PartialStatusObject } from './status.ts'

type InboundListener = Parameters<InnerCall['start']>[0]

/** What the handler receives. */
class UnaryCall extends EventEmitter implements grpc.ServerUnaryCall<unknown, unknown> {
  readonly path: string
  /** Public, as in grpc-js: by it the handler's answers are sent. */
  readonly call: InterceptedCall
  readonly metadata: grpc.Metadata
  readonly request: unknown
  cancelled = false

  constructor(path: string, call: InterceptedCall, metadata: grpc.Metadata, request: unknown) {
    super()
    this.path = path
    this.call = call
    this.metadata = metadata
    this.request = request
  }

  sendMetadata(metadata: grpc.Metadata): void {
    this.call.sendMetadata(metadata)
  }

  getPath(): string {
    return this.path
  }

  getPeer(): string {
    return this.call.getPeer()
  }

  getDeadline(): grpc.Deadline {
    return this.call.getDeadline()
  }

  getHost(): string {
    return this.call.getHost()
  }

  getAuthContext(): ReturnType<InnerCall['getAuthContext']> {
    return this.call.getAuthContext()
  }

  getMetricsRecorder(): ReturnType<InnerCall['getMetricsRecorder']> {
    return this.call.getMetricsRecorder()
  }
}

/** Waits for the only message and the end of the requests. */
export class UnaryRun implements InboundListener {
  readonly #call: InterceptedCall
  readonly #path: string
  readonly #handler: Handler
  #metadata: grpc.Metadata | undefined = undefined
  #request: unknown = undefined
  #given: UnaryCall | undefined = undefined

  constructor(call: InterceptedCall, path: string, handler: Handler) {
    this.#call = call
    this.#path = path
    this.#handler = handler
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.#metadata = metadata
    this.#call.startRead()
  }

  onReceiveMessage(message: unknown): void {
    if (this.#request) this.#refuse('Received a second request message for server streaming method')
    else {
      this.#request = message
      this.#call.startRead()
    }
  }

  onReceiveHalfClose(): void {
    if (!this.#request) {
      this.#refuse('Received no request message for server streaming method')
      return
    }
    const call = this.#call
    const given = new UnaryCall(this.#path, call, this.#metadata!, this.#request)
    this.#given = given
    // Guarded, so it does not throw.
    this.#handler.func(given, (error: object | null, value: unknown, trailers?: grpc.Metadata) => {
      if (error) call.sendStatus(statusOf(error, trailers))
      else call.sendMessage(value, () => call.sendStatus({ code: 0, details: 'OK', metadata: trailers ?? null }))
    })
  }

  onCancel(): void {
    const given = this.#given
    if (given === undefined) return
    given.cancelled = true
    given.emit('cancelled', 'cancelled')
  }

  #refuse(what: string): void {
    const details = `${what} ${this.#path}`
    this.#call.sendStatus({ code: GRPC_STATUS.UNIMPLEMENTED, details, metadata: null })
  }
}

/** The status of an error that a handler passes to its callback. */
function statusOf(error: object, trailers: grpc.Metadata | undefined): PartialStatusObject {
  const { code, details, message, metadata } = error as Partial<grpc.ServiceError>
  const coded = typeof code === 'number' && Number.isInteger(code)
  return {
    code: coded ? code : GRPC_STATUS.UNKNOWN,
    details:
      coded && typeof details === 'string' ? details : 'message' in error ? (message as string) : 'Unknown Error',
    metadata: trailers ?? metadata ?? null,
  }
}
