/**
 * A served call as grpc-js's interceptor: it stands between the handler and grpc-js's own call, and
 * passes on what needs no decision.
 */
import type * as grpc from '@grpc/grpc-js'
import { LOAD, NOT_EXECUTED } from '../../core/headers.ts'
import { ServedCall } from '../served-call.ts'
import type { AnswerLoad } from '../server-load.ts'
import type { CallKind, StatusSender } from './internals.ts'
import type { HeadersOwner, ServedStream } from './served-stream.ts'
import { guardHeaders, isMetadata, type PartialStatusObject } from './status.ts'
import { StreamProgress } from './stream-progress.ts'

/** grpc-js's call, below all interceptors. */
export type InnerCall = Parameters<grpc.ServerInterceptor>[1]

type InboundListener = Parameters<InnerCall['start']>[0]

/** What only the server itself may say. */
export function removeOwn(metadata: grpc.Metadata | null | undefined): void {
  metadata?.remove?.(NOT_EXECUTED)
  metadata?.remove?.(LOAD)
}

export abstract class InterceptedCall extends ServedCall implements HeadersOwner, InnerCall {
  abstract readonly stream: ServedStream
  protected inner: InnerCall | undefined = undefined
  protected listener: InboundListener | undefined = undefined
  /** How the handler answers: through the application's interceptors. */
  protected answering: StatusSender | undefined = undefined
  protected readonly progress = new StreamProgress()
  /** User code runs before the request is complete: interceptors, or a request stream. */
  #early = false

  abstract headersFailed(error: unknown): void
  abstract loadReport(): AnswerLoad | undefined
  abstract sendMessage(message: unknown, sent: () => void): void
  abstract sendStatus(status: PartialStatusObject): void

  /** Runs user code as part of this call. */
  protected abstract inContext(work: () => void): void

  /** grpc-js has found the handler. */
  attach(inner: InnerCall, kind: CallKind, early: boolean): this {
    this.inner = inner
    this.progress.kind = kind
    this.#early = early
    guardHeaders(this.stream, this)
    return this
  }

  attachHandler(answering: StatusSender): void {
    this.answering = answering
  }

  start(listener: InboundListener): void {
    this.listener = listener
    this.inner!.start(this as unknown as InboundListener)
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    if (this.#early) this.inContext(() => this.listener!.onReceiveMetadata(metadata))
    else this.listener!.onReceiveMetadata(metadata)
  }

  onReceiveMessage(message: unknown): void {
    this.progress.received += 1
    if (this.#early) this.inContext(() => this.listener!.onReceiveMessage(message))
    else this.listener!.onReceiveMessage(message)
  }

  sendMetadata(metadata: grpc.Metadata): void {
    // grpc-js marks them as sent before it fails on them; then no status could follow.
    if (!isMetadata(metadata)) throw new TypeError('sendMetadata: expected a Metadata of grpc-js')
    removeOwn(metadata)
    this.inner!.sendMetadata(metadata)
  }

  startRead(): void {
    this.inner!.startRead()
  }

  getPeer(): string {
    return this.inner!.getPeer()
  }

  /** Hidden from grpc-js, which would start a second timer. */
  getDeadline(): Date | number {
    if (this.deadlineAt === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
    return this.clock.wallNow() + this.deadlineAt - this.clock.now()
  }

  getHost(): string {
    return this.inner!.getHost()
  }

  getAuthContext(): ReturnType<InnerCall['getAuthContext']> {
    return this.inner!.getAuthContext()
  }

  getConnectionInfo(): ReturnType<InnerCall['getConnectionInfo']> {
    return this.inner!.getConnectionInfo()
  }

  getMetricsRecorder(): ReturnType<InnerCall['getMetricsRecorder']> {
    return this.inner!.getMetricsRecorder()
  }
}
