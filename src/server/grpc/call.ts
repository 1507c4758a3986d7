/**
 * One served gRPC call, from its headers to its last byte. It is also the interceptor that wraps
 * grpc-js's own call.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type { CallKind } from '../../core/call.ts'
import type { CallDetails } from '../../core/call-details.ts'
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { GRPC_AGENT, GRPC_PUSHBACK, NOT_EXECUTED } from '../../core/headers.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { GRPC_STATUS, grpcOutcome } from '../../core/status.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { endCall } from '../../resilience/execution.ts'
import type { FaultRule } from '../../resilience/fault-injection.ts'
import type { Connection } from '../connection.ts'
import { catchUserErrors, runUserCode } from '../guarded-emitter.ts'
import type { ServedCallHost } from '../served-call.ts'
import type { AnswerLoad } from '../server-load.ts'
import { STALL_CHECK_MS } from '../stall-detector.ts'
import { DirectCall } from './direct-call.ts'
import type { HandlerOwner } from './handler.ts'
import { type GrpcRequestHead, readContext } from './headers.ts'
import type { GrpcHealth } from './health.ts'
import { InterceptedCall, removeOwn } from './intercepted-call.ts'
import { withinMessage } from './internals.ts'
import { respond } from './response.ts'
import type { ServedStream } from './served-stream.ts'
import { type PartialStatusObject, sendableStatus, UNKNOWN_ERROR } from './status.ts'

export interface GrpcServerCallHost extends ServedCallHost {
  readonly health: GrpcHealth
  /** The application has interceptors, so user code runs with every message. */
  readonly intercepted: boolean
  /** Hands the stream to grpc-js, which attaches the call as its interceptor. */
  dispatch(call: GrpcServerCall): void
}

const REFUSAL_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  'identity-rejected': GRPC_STATUS.UNAUTHENTICATED,
  'permission-denied': GRPC_STATUS.PERMISSION_DENIED,
  'deadline-exceeded': GRPC_STATUS.DEADLINE_EXCEEDED,
  'rate-limited': GRPC_STATUS.RESOURCE_EXHAUSTED,
  'global-rate-limited': GRPC_STATUS.RESOURCE_EXHAUSTED,
  'protocol-error': GRPC_STATUS.INTERNAL,
}

/** How long after the deadline the caller may take to read its answer. */
const UNREAD_MS = 5_000
/** How long gRPC clients that retry wait after a refusal by a limit (gRFC A6). */
const PUSHBACK_MS = '1000'
const CUT = 'The requests end within a message.'
/** RFC 9113, 7. */
const CANCEL = 8

export class GrpcServerCall extends InterceptedCall implements HandlerOwner {
  readonly stream: ServedStream
  readonly headers: IncomingHttpHeaders
  readonly #host: GrpcServerCallHost
  /** The status that was sent, or is being sent. */
  #status: number | undefined = undefined
  /** The handler has been notified of the end. */
  #notified = false

  constructor(
    host: GrpcServerCallHost,
    connection: Connection,
    stream: ServedStream,
    kind: CallKind,
    { headers, timeoutMs, overrides, overrideProof }: GrpcRequestHead,
  ) {
    const now = host.clock.now()
    const defaultMs = host.stack.timeoutMs
    const deadlineAt = now + (timeoutMs ?? defaultMs)
    // A stream without a deadline may last for ever, while its peer does not stall.
    const endless = kind.streaming && timeoutMs === undefined
    const dueAt = kind.streaming ? Math.min(deadlineAt, now + defaultMs) : deadlineAt
    super(host, connection, kind, now, endless ? Number.POSITIVE_INFINITY : deadlineAt, dueAt)
    this.stream = stream
    this.headers = headers
    this.#host = host
    readContext(this, headers)
    if (overrides !== undefined) this.takeOverrides(overrides, overrideProof)
  }

  run(): void {
    this.startHandler('grpcStatus')
  }

  override get fromMesh(): boolean {
    return this.headers['user-agent']?.startsWith(GRPC_AGENT) === true
  }

  override get orcaForm(): 'binary' {
    return 'binary'
  }

  get health(): GrpcHealth {
    return this.#host.health
  }

  /** For faults that match by header. */
  header(name: string): string | undefined {
    const value = this.headers[name]
    if (Array.isArray(value)) return value.join(', ')
    // An object inherits members that a header may be named like.
    return typeof value === 'string' ? value : undefined
  }

  override details(): CallDetails {
    const { inner } = this
    if (!(inner instanceof DirectCall)) return super.details()
    return { ...super.details(), bytesSent: inner.sent, bytesReceived: inner.received }
  }

  protected get answer(): ServedStream {
    return this.stream
  }

  // The interceptor.

  /**
   * A grpc-js client that cancels ends its requests, then resets the stream. A reset that arrives
   * with the end comes first.
   */
  onReceiveHalfClose(): void {
    const { kind } = this.progress
    const streamed = kind === 'clientStream' || kind === 'bidi'
    if (streamed && !(this.inner instanceof DirectCall)) setImmediate(requestsEnded, this)
    else this.requestsEnded()
  }

  /** @internal A reset also ends the body; grpc-js would take that for the regular end. */
  requestsEnded(): void {
    const { stream } = this
    if (this.verdict !== undefined || stream.closed || stream.destroyed || stream.aborted) return
    if (this.#isCut()) {
      if (this.#status === undefined) this.giveUp(this.reason('protocol-error', CUT))
      return
    }
    this.progress.received += 1
    this.progress.halfClosed = true
    this.inContext(() => this.listener!.onReceiveHalfClose())
  }

  /** grpc-js would drop the part and take the requests for whole. */
  #isCut(): boolean {
    const { inner } = this
    return inner instanceof DirectCall ? inner.withinMessage : withinMessage(inner)
  }

  /** grpc-js calls this at the end of every call, also after a status. */
  onCancel(): void {
    const answered = this.#status !== undefined
    this.finish()
    this.#notifyHandler(answered)
  }

  /** When we end a call, the handler learns it before the caller has read all earlier messages. */
  #notifyHandler(answered: boolean): void {
    if (this.#notified) return
    this.#notified = true
    const notify = (): void => this.listener?.onCancel()
    if (!answered) this.inContext(notify)
    else if (this.#host.intercepted) runUserCode(this, notify)
    else catchUserErrors(this, notify)
  }

  sendMessage(message: unknown, callback: () => void): void {
    // A message after the status would reset the stream.
    if (this.verdict !== undefined || this.#status !== undefined) return
    const { progress } = this
    progress.sending += 1
    this.inner!.sendMessage(message, () => {
      progress.sending -= 1
      progress.sent += 1
      runUserCode(this, callback)
    })
  }

  sendStatus(given: PartialStatusObject): void {
    if (this.#status !== undefined) return
    const status = sendableStatus(given)
    removeOwn(status.metadata)
    this.#status = status.code
    this.inner!.sendStatus(status)
  }

  /** For its stream: the status is about to leave. */
  loadReport(): AnswerLoad | undefined {
    if (this.#status === undefined || this.verdict !== undefined) return undefined
    if (this.kind.streaming) return this.answersStream()
    return this.answers(grpcOutcome(this.#status, false, undefined).verdict === 'success')
  }

  // The handler.

  protected inContext(work: () => void): void {
    const { runInSpan } = this.#host
    // Only a recorded call has a span.
    if (runInSpan === undefined || this.observed === undefined) runUserCode(this, work)
    else runInSpan(this, () => runUserCode(this, work))
  }

  protected handle(): void {
    if (this.#host.intercepted) runUserCode(this, () => this.#host.dispatch(this))
    else this.#host.dispatch(this)
    // grpc-js has answered: the method does not exist, or the request is not gRPC.
    if (this.inner === undefined && this.#status === undefined)
      this.#respond(GRPC_STATUS.UNIMPLEMENTED, 'There is no such method.')
  }

  protected injectFault({ grpcStatus }: FaultRule): void {
    // During the delay, the caller may have left or the deadline passed.
    if (!this.listed || this.verdict !== undefined) return
    if (this.stream.destroyed) this.finish()
    else if (grpcStatus === undefined) this.handle()
    else this.#respond(grpcStatus, 'Injected fault (`faults` of this service).')
  }

  handlerEnded(): void {
    this.handlerDone()
  }

  userCodeFailed(error: unknown): void {
    this.handlerDone()
    // A handler that throws because it was cancelled is right to do so.
    if (this.cancelled) return
    this.#host.handlerFailed(error, this.kind.method)
    if (this.verdict !== undefined || this.#status !== undefined || !this.listed) return
    const status = { code: GRPC_STATUS.UNKNOWN, details: UNKNOWN_ERROR, metadata: null }
    try {
      // Through the application's interceptors, which may hold it back.
      this.answering?.sendStatus(status)
    } catch {
      // An interceptor failed as well.
    }
    if (this.#status === undefined) this.#answer(status)
    process.nextTick(() => this.#notifyHandler(false))
  }

  headersFailed(error: unknown): void {
    this.#status = GRPC_STATUS.UNKNOWN
    this.#host.handlerFailed(error, this.kind.method)
  }

  /** A handler that destroys its stream has no other way to answer. */
  handlerClosed(pending: PartialStatusObject | undefined): void {
    if (this.#status !== undefined || this.cancelled || !this.listed) return
    if (pending !== undefined && pending.code !== GRPC_STATUS.OK) this.sendStatus(pending)
    else this.userCodeFailed(new Error('The handler destroyed its stream before it had ended.'))
  }

  #answer(status: { code: number; details: string; metadata: null }): void {
    if (this.inner === undefined) {
      this.#respond(status.code, status.details)
      return
    }
    // grpc-js reports the end of a call only after its start.
    if (this.listener === undefined) this.#finishWithStream()
    this.sendStatus(status)
  }

  // The end.

  protected ending(): Outcome | undefined {
    const status = this.#status
    if (status === undefined) return this.verdict
    this.attempt.status = status
    return this.verdict ?? grpcOutcome(status, false, undefined)
  }

  protected deadlineDue(now: number): void {
    if (
      this.verdict === undefined &&
      this.#status === undefined &&
      now + 1 < this.deadlineAt &&
      !this.progress.stalled(this.connection.socket, now)
    ) {
      this.dueAt = Math.min(this.deadlineAt, now + STALL_CHECK_MS)
      this.#host.deadlines.watch(this, now)
    } else this.#giveUp(GRPC_STATUS.DEADLINE_EXCEEDED, this.deadlinePassed())
  }

  protected giveUp(cause: MeshError): void {
    this.#giveUp(REFUSAL_STATUS[cause.code] ?? GRPC_STATUS.UNAVAILABLE, cause)
  }

  #giveUp(status: number, cause: MeshError): void {
    if (this.verdict !== undefined || this.#status !== undefined) {
      // The answer is complete, but the caller does not read it.
      this.stream.close(CANCEL)
      return
    }
    this.verdict = outcome('failure', cause.code, cause)
    const now = this.clock.now()
    this.dueAt = now + UNREAD_MS
    this.#host.deadlines.watch(this, now)
    if (this.inner === undefined) this.#respond(status, cause.message)
    else this.sendStatus({ code: status, details: cause.message })
    this.cancel(cause)
    process.nextTick(() => this.#notifyHandler(false))
  }

  /** Answers in place of a handler. The call ends with its stream. */
  #respond(status: number, message: string): void {
    this.#status = status
    this.#finishWithStream()
    respond(this.stream, status, message)
  }

  #finishWithStream(): void {
    if (this.stream.destroyed) this.finish()
    else this.stream.on('close', () => this.finish())
  }

  protected refuse(code: ErrorCode, message: string): void {
    const status = REFUSAL_STATUS[code] ?? GRPC_STATUS.UNAVAILABLE
    const limited = code === 'concurrency-limited' || REFUSAL_STATUS[code] === GRPC_STATUS.RESOURCE_EXHAUSTED
    const marker = this.connection.denied ? identityRefusal('denied') : code
    respond(this.stream, status, message, { [NOT_EXECUTED]: marker, ...(limited && { [GRPC_PUSHBACK]: PUSHBACK_MS }) })
    this.attempt.status = status
    endCall(this.stack, this, outcome('refused', code, undefined, status))
  }
}

function requestsEnded(call: GrpcServerCall): void {
  call.requestsEnded()
}
