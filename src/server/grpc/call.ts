/**
 * One gRPC call being served, from its headers to its last byte: who calls, may it, is there time,
 * is there room, then grpc-js and the handler. The object is the mesh's call, and for grpc-js the
 * interceptor around its own; everything that may happen to it ends in
 * {@link GrpcServerCall.finish}, exactly once.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { Attempt } from '../../core/attempt.ts'
import type { Route } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { GRPC_PUSHBACK, NOT_EXECUTED } from '../../core/headers.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { GRPC_STATUS, grpcOutcome } from '../../core/status.ts'
import { endAttempt, endCall } from '../../resilience/execution.ts'
import type { Faultable, FaultRule } from '../../resilience/fault-injection.ts'
import type { Stack } from '../../resilience/stack.ts'
import type { EventSink } from '../../telemetry/events.ts'
import { admit, withoutLimits } from '../admission.ts'
import type { Authorizer } from '../authorization.ts'
import type { Connection } from '../connection.ts'
import type { DeadlineSweep, Expirable } from '../deadline-sweep.ts'
import { catchUserErrors, runUserCode } from '../guarded-emitter.ts'
import type { InFlight, ListLink } from '../in-flight.ts'
import type { RunInSpan } from '../inbound-call.ts'
import { inboundFault } from '../inbound-fault.ts'
import { STALL_CHECK_MS } from '../stall-detector.ts'
import type { HandlerOwner } from './handler.ts'
import { type GrpcHead, readContext } from './headers.ts'
import type { GrpcHealth } from './health.ts'
import { type InnerCall, ServerInterceptedCall } from './intercepted-call.ts'
import { respond } from './response.ts'
import { type HeadersOwner, type PartialStatusObject, sendableStatus, UNKNOWN_ERROR } from './status.ts'

/** What a server lends to each of its exchanges. */
export interface GrpcServerCallHost {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
  /** Both may be replaced while serving. */
  authorizer: Authorizer
  stack: Stack
  readonly health: GrpcHealth
  /** From code; those of the document are in the stack. */
  readonly faults: readonly FaultRule[]
  readonly running: InFlight<GrpcServerCall>
  readonly deadlines: DeadlineSweep
  /** Runs a handler in the span of its call. */
  readonly within: RunInSpan | undefined
  handlerFailed(error: unknown, method: string, path?: string): void
  /** The application has interceptors: user code runs with everything that comes. */
  readonly intercepted: boolean
  /** Hands the stream on to grpc-js, which asks for the exchange as its interceptor. */
  pass(exchange: GrpcServerCall): void
  exchangeEnded(): void
}

const REFUSAL_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  'identity-rejected': GRPC_STATUS.UNAUTHENTICATED,
  'permission-denied': GRPC_STATUS.PERMISSION_DENIED,
  'deadline-exceeded': GRPC_STATUS.DEADLINE_EXCEEDED,
  'rate-limited': GRPC_STATUS.RESOURCE_EXHAUSTED,
}

/** After the deadline an answer that nobody takes is cut off. */
const UNREAD_MS = 5_000
/** A refusal for want of room; other clients of gRPC that retry wait so long (gRFC A6). */
const PUSHBACK_MS = '1000'

export class GrpcServerCall
  extends ServerInterceptedCall
  implements Expirable, Faultable, InnerCall, HandlerOwner, HeadersOwner, ListLink<GrpcServerCall>
{
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  readonly connection: Connection
  readonly #host: GrpcServerCallHost
  #stack: Stack
  readonly #attempt: Attempt
  /** When to be told of the deadline. */
  dueAt: number
  listed = false
  ahead: GrpcServerCall | undefined = undefined
  behind: GrpcServerCall | undefined = undefined
  /** What the caller has been told, or will be. */
  #status: number | undefined = undefined
  /** The handler has heard that it is over. */
  #told = false
  /** What we decided about it, if it does not end as its status says. */
  #verdict: Outcome | undefined = undefined

  constructor(
    host: GrpcServerCallHost,
    connection: Connection,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    route: Route,
    head: GrpcHead,
  ) {
    const { clock, stack } = host
    const now = clock.now()
    const dueAt = now + (head.timeoutMs ?? stack.timeoutMs)
    // A stream without a deadline has none: its peers are bounded, and its life is not.
    const endless = route.streaming && head.timeoutMs === undefined
    super(route, clock, now, endless ? Number.POSITIVE_INFINITY : dueAt, connection.caller)
    this.stream = stream
    this.headers = headers
    this.connection = connection
    this.#host = host
    this.#stack = stack
    this.#attempt = new Attempt(this)
    this.dueAt = route.streaming ? Math.min(dueAt, now + stack.timeoutMs) : dueAt
    readContext(this, headers)
  }

  /**
   * Everything that is asked before grpc-js hears of it. `false`: it has been answered.
   * `forProven`: open to every proven peer, at all times.
   */
  admit(forProven: boolean): boolean {
    const host = this.#host
    const open = forProven && this.connection.caller !== undefined
    if (open) this.#stack = withoutLimits(this.#stack)
    // By what was asked for, also if nobody serves it: a caller of all methods of a service may
    // learn that this one is not there.
    const path = this.headers[':path'] ?? ''
    const decision = open ? undefined : host.authorizer.grpc(this.peer, path)
    const refused = admit(host, this.#stack, this, this.#attempt, this.connection, decision, path)
    if (refused === undefined) {
      host.running.add(this)
      return true
    }
    this.#refuse(REFUSAL_STATUS[refused.code] ?? GRPC_STATUS.UNAVAILABLE, refused.code, refused.message)
    return false
  }

  /** Runs the handler, or the fault that was drawn for this call. */
  run(): void {
    this.#host.deadlines.watch(this, this.startedAt)
    const fault = inboundFault(this, this.#host, this.#stack.faults, 'grpcStatus')
    if (fault === undefined) this.#pass()
    else if (fault.delayMs === 0) this.#suffer(fault)
    else this.clock.startBackgroundTimer(fault.delayMs, (exchange) => exchange.#suffer(fault), this)
  }

  get health(): GrpcHealth {
    return this.#host.health
  }

  /** For faults that match by header. */
  header(name: string): string | undefined {
    const value = this.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  // grpc-js's interceptor.

  /**
   * A reset ends the body too, and grpc-js takes that for the end of the requests: a handler would
   * begin, or believe that it has all.
   */
  onReceiveHalfClose(): void {
    const { stream } = this
    if (this.#verdict !== undefined || stream.closed || stream.destroyed || stream.aborted) return
    this.progress.received += 1
    this.progress.halfClosed = true
    this.inContext(() => this.listener!.onReceiveHalfClose())
  }

  /**
   * grpc-js says so at the end of every call: the status has left, or the stream has closed without
   * one.
   */
  onCancel(): void {
    const answered = this.#status !== undefined
    this.finish()
    this.hear(answered)
  }

  /**
   * The handler hears that it is over: of our own end at once, not only when the caller has taken
   * all that was sent before.
   */
  hear(answered: boolean): void {
    if (this.#told) return
    this.#told = true
    const told = (): void => this.listener?.onCancel()
    if (!answered) this.inContext(told)
    else if (this.#host.intercepted) runUserCode(this, told)
    else catchUserErrors(this, told)
  }

  sendMessage(message: unknown, callback: () => void): void {
    // After a status that was sent it would be a reset.
    if (this.#verdict !== undefined || this.#status !== undefined) return
    const { progress } = this
    progress.sending += 1
    this.inner!.sendMessage(message, () => {
      progress.sending -= 1
      progress.taken += 1
      runUserCode(this, callback)
    })
  }

  /**
   * What is certain here is not certain above: a handler's own status never says that nothing was
   * executed.
   */
  sendStatus(given: PartialStatusObject): void {
    if (this.#status !== undefined) return
    const status = sendableStatus(given)
    status.metadata?.remove(NOT_EXECUTED)
    this.#status = status.code
    this.inner!.sendStatus(status)
  }

  handlerEnded(): void {
    this.handled = true
  }

  // What goes wrong in user code.

  userCodeFailed(error: unknown): void {
    this.handled = true
    // A handler that throws because it was asked to stop does what it should.
    if (this.cancelled) return
    this.#host.handlerFailed(error, this.route.method)
    if (this.#verdict !== undefined || this.#status !== undefined || !this.listed) return
    const status = { code: GRPC_STATUS.UNKNOWN, details: UNKNOWN_ERROR, metadata: null }
    try {
      // Through the interceptors of the application, which may hold it back.
      this.answering?.sendStatus(status)
    } catch {
      // They failed, too.
    }
    if (this.#status === undefined) this.#answer(status)
    process.nextTick(() => this.hear(false))
  }

  headersFailed(error: unknown): void {
    this.#status = GRPC_STATUS.UNKNOWN
    this.#host.handlerFailed(error, this.route.method)
  }

  /** A handler that destroys its stream, or ends the loop that does, has no other way to answer. */
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
    // Not started: grpc-js does not say when it is over.
    if (this.listener === undefined) this.#finishWithStream()
    this.sendStatus(status)
  }

  // How it ends.

  /** The call is over, well or not. */
  finish(): void {
    if (!this.#host.running.delete(this)) return
    this.connection.inFlight -= 1
    const status = this.#status
    let ended = this.#verdict
    if (status !== undefined) {
      this.#attempt.status = status
      ended ??= grpcOutcome(status, false, undefined)
    }
    if (ended === undefined) {
      const cause = this.callerGone()
      this.cancel(cause)
      ended = outcome('cancelled', 'cancelled', cause)
    }
    endAttempt(this.#stack, this.#attempt, ended)
    this.#host.exchangeEnded()
  }

  /** The server has no more time for it. */
  abandon(): void {
    this.#giveUp(GRPC_STATUS.UNAVAILABLE, this.drainOver())
  }

  /** The deadline has passed, or it is time to look at the peer of a stream again. */
  expire(): void {
    this.dueAt = Number.POSITIVE_INFINITY
    const now = this.clock.now()
    if (
      this.#verdict === undefined &&
      this.#status === undefined &&
      now + 1 < this.deadlineAt &&
      !this.progress.stopped(this.connection.socket, now)
    ) {
      this.dueAt = Math.min(this.deadlineAt, now + STALL_CHECK_MS)
      this.#host.deadlines.watch(this, now)
    } else this.#giveUp(GRPC_STATUS.DEADLINE_EXCEEDED, this.deadlinePassed())
  }

  #giveUp(status: number, cause: MeshError): void {
    if (this.#verdict !== undefined || this.#status !== undefined) {
      // All is said, but the caller does not take it.
      this.stream.close(CANCEL)
      return
    }
    this.#verdict = outcome('failure', cause.code, cause)
    const now = this.clock.now()
    this.dueAt = now + UNREAD_MS
    this.#host.deadlines.watch(this, now)
    if (this.inner === undefined) this.#respond(status, cause.message)
    else this.sendStatus({ code: status, details: cause.message })
    this.cancel(cause)
    process.nextTick(() => this.hear(false))
  }

  #pass(): void {
    if (this.#host.intercepted) runUserCode(this, () => this.#host.pass(this))
    else this.#host.pass(this)
    // Answered by grpc-js itself: there is no such method, or it is no call of gRPC.
    if (this.inner === undefined && this.#status === undefined)
      this.#respond(GRPC_STATUS.UNIMPLEMENTED, 'There is no such method.')
  }

  /** Answers instead of a handler; it is over when the stream is. */
  #respond(status: number, message: string): void {
    this.#status = status
    this.#finishWithStream()
    respond(this.stream, status, message)
  }

  #finishWithStream(): void {
    if (this.stream.destroyed) this.finish()
    else this.stream.on('close', () => this.finish())
  }

  #refuse(status: number, code: ErrorCode, message: string): void {
    const room = code === 'concurrency-limited' || code === 'rate-limited'
    respond(this.stream, status, message, { [NOT_EXECUTED]: code, ...(room && { [GRPC_PUSHBACK]: PUSHBACK_MS }) })
    this.#attempt.status = status
    endCall(this.#stack, this, outcome('refused', code, undefined, status))
  }

  protected inContext(work: () => void): void {
    const { within } = this.#host
    // Only a call that is recorded has a span to be within.
    if (within === undefined || this.observed === undefined) runUserCode(this, work)
    else within(this, () => runUserCode(this, work))
  }

  #suffer({ grpcStatus }: FaultRule): void {
    // In the meantime the caller may have gone, or the deadline passed.
    if (!this.listed || this.#verdict !== undefined) return
    if (this.stream.destroyed) this.finish()
    else if (grpcStatus === undefined) this.#pass()
    else this.#respond(grpcStatus, 'A fault on purpose.')
  }
}

const CANCEL = 8 // RFC 9113, 7
