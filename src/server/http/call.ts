/**
 * One request being served, from its head to the last byte of its answer: who calls, may it, is
 * there time, is there room, then the handler. The object is call, attempt and state of the
 * response at once; everything that may happen to it ends in {@link HttpServerCall.finish}, exactly
 * once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Attempt } from '../../core/attempt.ts'
import type { Clock } from '../../core/clock.ts'
import { servingFromHere } from '../../core/context.ts'
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { httpOutcome } from '../../core/status.ts'
import { endAttempt, endCall } from '../../resilience/execution.ts'
import type { Faultable, FaultRule } from '../../resilience/fault-injection.ts'
import type { Stack } from '../../resilience/stack.ts'
import type { EventSink } from '../../telemetry/events.ts'
import { admit } from '../admission.ts'
import type { Authorizer } from '../authorization.ts'
import type { Connection } from '../connection.ts'
import type { DeadlineSweep, Expirable } from '../deadline-sweep.ts'
import type { DrainState } from '../drain.ts'
import { bindEmitter, guardEmitter } from '../guarded-emitter.ts'
import type { InFlight, ListLink } from '../in-flight.ts'
import { InboundCall, type RunInSpan } from '../inbound-call.ts'
import { inboundFault } from '../inbound-fault.ts'
import { flushedBytes, STALL_CHECK_MS, StallDetector } from '../stall-detector.ts'
import type { Application } from './application.ts'
import { readContext } from './headers.ts'
import type { Head } from './request-head.ts'
import { discardWrites, observeResponse, type ResponseObserver, refuse } from './response.ts'
import { routeOf } from './route.ts'
import { isWebSocket, WebSocketClose } from './websocket-close.ts'

/** What a server lends to each of its exchanges. */
export interface HttpServerCallHost {
  readonly service: string
  readonly clock: Clock
  readonly application: Application
  readonly maxHeaders: number
  readonly events: EventSink
  /** Both may be replaced while serving. */
  authorizer: Authorizer
  stack: Stack
  /** From code; those of the document are in the stack. */
  readonly faults: readonly FaultRule[]
  readonly running: InFlight<HttpServerCall>
  readonly state: DrainState
  readonly deadlines: DeadlineSweep
  /** Runs a handler in the span of its call. */
  readonly within: RunInSpan | undefined
  handlerFailed(error: unknown, method: string, path?: string): void
  exchangeEnded(): void
}

/**
 * What a client waits for before it sends the body: `100-continue`, or something that only the
 * application may know.
 */
export type Expectation = 'none' | 'checkContinue' | 'checkExpectation'

export class HttpServerCall
  extends InboundCall
  implements ResponseObserver, Expirable, Faultable, ListLink<HttpServerCall>
{
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly connection: Connection
  readonly #host: HttpServerCallHost
  readonly #stack: Stack
  readonly #attempt: Attempt
  /**
   * The caller said how much time there is; otherwise the deadline is our default and bounds only
   * the wait for an answer.
   */
  readonly #deadlineIsCallers: boolean
  /** When to be told of the deadline; later than that only while a reader is watched. */
  dueAt: number
  listed = false
  ahead: HttpServerCall | undefined = undefined
  behind: HttpServerCall | undefined = undefined
  /** What we decided about it, if it does not end as the response says. */
  #verdict: Outcome | undefined
  /** Made when the deadline has passed and bodies still move. */
  #peer: StallDetector | undefined = undefined
  #uploaded = false
  /** The handler has returned a promise. */
  #promised = false
  #expectation: Expectation = 'none'
  /** What had been written on the connection when the application took it over. */
  #upgradedAt = 0
  #webSocket: WebSocketClose | undefined = undefined

  constructor(
    host: HttpServerCallHost,
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    { timeoutMs, scan }: Head,
    cameAt?: number,
  ) {
    const { clock, stack } = host
    const now = clock.now()
    const route = routeOf(host.service, request.method ?? 'GET')
    // What the caller allows has run while the request waited for its turn.
    const deadlineAt = timeoutMs === undefined ? now + stack.timeoutMs : (cameAt ?? now) + timeoutMs
    super(route, clock, now, deadlineAt, connection.caller)
    this.request = request
    this.response = response
    this.connection = connection
    this.#host = host
    this.#stack = stack
    this.#attempt = new Attempt(this)
    this.#deadlineIsCallers = timeoutMs !== undefined
    this.dueAt = this.deadlineAt
    readContext(this, scan)
  }

  /** For the response's head: is the connection to end? */
  now(): number {
    return this.clock.now()
  }

  /** Everything that is asked before the handler runs. `false`: the request has been answered. */
  admit(path: string): boolean {
    const host = this.#host
    const decision = host.authorizer.http(this.peer, this.route.method, path)
    const refused = admit(host, this.#stack, this, this.#attempt, this.connection, decision, this.request.url ?? '')
    if (refused === undefined) {
      host.running.add(this)
      return true
    }
    const { code, message } = refused
    this.#refuse(REFUSAL_STATUS[code] ?? 503, code, message, code !== 'permission-denied')
    return false
  }

  /** Runs the handler, or the fault that was drawn for this request. */
  run(expectation: Expectation): void {
    observeResponse(this.response, this)
    bindEmitter(this.request, this)
    this.#expectation = expectation
    this.#host.deadlines.watch(this, this.startedAt)
    const fault = inboundFault(this, this.#host, this.#stack.faults, 'status')
    if (fault === undefined) this.#handle()
    else if (fault.delayMs === 0) this.#suffer(fault)
    else this.clock.startBackgroundTimer(fault.delayMs, (exchange) => exchange.#suffer(fault), this)
  }

  /** For faults that match by header. */
  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  #suffer({ status }: FaultRule): void {
    const { request, response } = this
    // In the meantime the caller may have gone, or the deadline passed.
    if (!this.listed || response.writableEnded) return
    if (status === undefined) this.#handle()
    else refuse(request, response, { status, code: 'server-error', message: 'A fault on purpose.' })
  }

  #handle(): void {
    const { within } = this.#host
    // Only a call that is recorded has a span to be within.
    if (within === undefined || this.observed === undefined) this.#runUserCode(callApplication)
    else this.#runUserCode(() => within(this, () => callApplication(this)))
  }

  /** For {@link callApplication}. */
  callApplication(): unknown {
    const { request, response } = this
    const { listener, events } = this.#host.application
    if (this.#expectation === 'none') return listener(request, response)
    const asked = events?.expect(this.#expectation, request, response)
    if (asked !== undefined) return asked
    if (this.#expectation === 'checkContinue') {
      response.writeContinue()
      return listener(request, response)
    }
    refuse(request, response, { status: 417, code: 'protocol-error', message: 'Expect is not 100-continue.' })
    return undefined
  }

  #runUserCode(work: (exchange: HttpServerCall) => unknown): void {
    try {
      const returned = servingFromHere(this, work)
      if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') {
        this.#promised = true
        ;(returned as PromiseLike<unknown>).then(
          () => {
            this.handled = true
          },
          (error: unknown) => this.userCodeFailed(error),
        )
      }
    } catch (error) {
      this.userCodeFailed(error)
    }
  }

  /** A handler without a promise has ended when it has ended the response. */
  override get over(): boolean {
    return super.over || (this.settled && !this.#promised && this.#verdict === undefined && this.response.writableEnded)
  }

  /** Once the answer has begun, only the caller's own deadline holds. */
  override get bindsUntil(): number {
    return this.#deadlineIsCallers || !this.response.headersSent ? super.bindsUntil : Number.POSITIVE_INFINITY
  }

  /** Runs an upgrade: no deadline, and it lasts as long as its connection. */
  runUpgrade(work: () => unknown): void {
    const { socket } = this.connection
    this.deadlineAt = Number.POSITIVE_INFINITY
    this.dueAt = Number.POSITIVE_INFINITY
    socket.once('close', () => this.finish())
    this.#attempt.status = 101
    this.#upgradedAt = socket.bytesWritten
    bindEmitter(this.request, this)
    guardEmitter(socket, this)
    if (isWebSocket(this.request)) this.#webSocket = new WebSocketClose(socket)
    this.#runUserCode(work)
    if (this.#host.state === 'finishing') this.goAway()
  }

  /** The server goes away: what may last for ever is asked to end. */
  goAway(): void {
    this.#webSocket?.ask()
  }

  /** The response is over, well or not. */
  finish(): void {
    if (!this.#host.running.delete(this)) return
    this.connection.inFlight -= 1
    const { response } = this
    if (this.connection.last === response) this.connection.last = undefined
    const upgraded = this.#attempt.status === 101
    let ended = this.#verdict
    if (ended === undefined && (response.writableFinished || upgraded)) {
      ended = httpOutcome(upgraded ? 101 : response.statusCode, false, undefined)
    }
    if (ended === undefined) {
      const cause = this.callerGone()
      this.cancel(cause)
      ended = outcome('cancelled', 'cancelled', cause)
    } else if (response.headersSent) this.#attempt.status = response.statusCode
    endAttempt(this.#stack, this.#attempt, ended)
    this.#host.exchangeEnded()
    this.connection.pipeline?.next()
  }

  /** The server has no more time for it. */
  abandon(): void {
    const cause = this.drainOver()
    this.#giveUp(503, 'closed', 'The server is going away.', outcome('failure', 'closed', cause), cause)
  }

  /** The deadline has passed, or it is time to look at the peer again. */
  expire(): void {
    this.dueAt = Number.POSITIVE_INFINITY
    const now = this.clock.now()
    if (!this.#deadlineIsCallers && this.#goesOn(now)) {
      this.#host.deadlines.watch(this, now)
      return
    }
    const cause = this.deadlinePassed()
    this.#giveUp(504, 'deadline-exceeded', cause.message, outcome('failure', 'deadline-exceeded', cause), cause)
  }

  /**
   * A deadline of ours bounds the wait for the head of the answer. Bodies may take their time as
   * long as they move: what the caller still sends before the head, and what it takes after it.
   */
  #goesOn(now: number): boolean {
    const { request, response } = this
    const { socket } = this.connection
    const peer = this.#peer ?? new StallDetector()
    if (response.headersSent) {
      const waits = socket.writableLength > 0 || response.writableNeedDrain
      if (!waits) peer.rest()
      else if (peer.stopped(flushedBytes(socket), now)) return false
      this.dueAt = now + STALL_CHECK_MS
    } else {
      // The answer was due, or it is after an upload that took its time.
      if (request.complete && (this.#peer === undefined || this.#uploaded)) return false
      if (request.complete) this.#uploaded = true
      else if (peer.stopped(socket.bytesRead, now, STALL_CHECK_MS)) return false
      this.dueAt = now + (request.complete ? this.#stack.timeoutMs : STALL_CHECK_MS)
      this.deadlineAt = this.dueAt
    }
    this.#peer = peer
    return true
  }

  #giveUp(status: number, code: ErrorCode, message: string, verdict: Outcome, cause: MeshError): void {
    const { request, response } = this
    if (response.writableEnded || this.#verdict !== undefined) {
      // All is said, but the caller does not take it.
      this.connection.socket.destroy()
      return
    }
    this.#verdict = verdict
    if (response.headersSent || this.#attempt.status === 101) {
      this.cancel(cause)
      this.connection.socket.destroy()
      return
    }
    // A sender that has not finished by now may never do so.
    refuse(request, response, { status, code, message, close: !request.complete || code === 'closed' })
    discardWrites(response)
    this.cancel(cause)
  }

  userCodeFailed(error: unknown): void {
    this.handled = true
    const { request, response } = this
    const { socket } = this.connection
    // A handler that throws because it was asked to stop does what it should.
    if (this.cancelled) return
    const path = (request.url ?? '').split('?', 1)[0]!
    this.#host.handlerFailed(error, this.route.method, path)
    if (this.#verdict !== undefined || response.writableEnded || !this.listed) return
    if (response.headersSent || this.#attempt.status === 101) {
      this.#verdict = outcome('failure', 'server-error', error)
      if (response.headersSent || socket.bytesWritten > this.#upgradedAt) socket.destroy()
      else {
        socket.write(UPGRADE_FAILED)
        socket.destroySoon()
      }
      return
    }
    this.#verdict = outcome('failure', 'server-error', error, 500)
    refuse(request, response, { status: 500, code: 'server-error', message: 'The handler failed.' })
    discardWrites(response)
  }

  #refuse(status: number, code: ErrorCode, message: string, notExecuted: boolean): void {
    const { request, response } = this
    const retryAfter = status === 503 || status === 429
    const close = this.connection.retireAt <= this.startedAt
    refuse(request, response, { status, code, message, notExecuted, retryAfter, close })
    this.#attempt.status = status
    endCall(this.#stack, this, outcome(notExecuted ? 'refused' : 'failure', code, undefined, status))
  }
}

function callApplication(exchange: HttpServerCall): unknown {
  return exchange.callApplication()
}

const REFUSAL_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  'identity-rejected': 403,
  'permission-denied': 403,
  'deadline-exceeded': 504,
  'rate-limited': 429,
}

const UPGRADE_FAILED = 'HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'
