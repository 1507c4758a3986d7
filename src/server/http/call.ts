/**
 * One served HTTP request, from its head to the last byte of its answer. It is the call and the
 * observer of its response at once.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type CallDetails, pathOf } from '../../core/call-details.ts'
import { servingFromHere } from '../../core/context.ts'
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { type Outcome, outcome } from '../../core/outcome.ts'
import { httpOutcome } from '../../core/status.ts'
import { identityRefusal } from '../../net/identity-refusal.ts'
import { endCall } from '../../resilience/execution.ts'
import type { FaultRule } from '../../resilience/fault-injection.ts'
import type { DrainState } from '../drain.ts'
import { bindEmitter, guardEmitter } from '../guarded-emitter.ts'
import { ServedCall, type ServedCallHost } from '../served-call.ts'
import type { AnswerLoad } from '../server-load.ts'
import type { Application } from './application.ts'
import { BodyBytes } from './body-bytes.ts'
import { BodyProgress } from './body-progress.ts'
import { kindOf } from './call-kind.ts'
import type { Exchange } from './exchange.ts'
import { readContext } from './headers.ts'
import { problemOf } from './problem.ts'
import type { HttpRequestHead } from './request-head.ts'
import {
  answerProblem,
  discardWrites,
  observeResponse,
  type Refusal,
  type ResponseObserver,
  refuse,
} from './response.ts'
import { TakenOver } from './taken-over.ts'

export interface HttpServerCallHost extends ServedCallHost {
  readonly application: Application
  readonly maxHeaders: number
  readonly state: DrainState
}

/**
 * What a client waits for before it sends the body: `100-continue`, or an expectation that only the
 * application may know.
 */
export type Expectation = 'none' | 'checkContinue' | 'checkExpectation'

export class HttpServerCall extends ServedCall implements ResponseObserver {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly exchange: Exchange
  readonly #host: HttpServerCallHost
  /** The caller sent a deadline. Ours, otherwise, bounds only the wait for the answer's head. */
  readonly #callerSetDeadline: boolean
  readonly #fromMesh: boolean
  /** Created when the deadline has passed and bodies still move. */
  #progress: BodyProgress | undefined = undefined
  /** The handler has returned a promise. */
  #promised = false
  #expectation: Expectation = 'none'
  /** An upgrade. */
  #takenOver: TakenOver | undefined = undefined
  sentBytes: number
  /** Made if somebody will ask, and the carrier does not count them. */
  readonly #bodyBytes: BodyBytes | undefined = undefined
  /** Routers change the URL of the request. */
  readonly #target: string

  constructor(
    host: HttpServerCallHost,
    exchange: Exchange,
    request: IncomingMessage,
    response: ServerResponse,
    { timeoutMs, scan }: HttpRequestHead,
    arrivedAt?: number,
  ) {
    const now = host.clock.now()
    const kind = kindOf(host.service, request.method ?? 'GET')
    // The caller's time has run while the request waited for earlier ones.
    const deadlineAt = timeoutMs === undefined ? now + host.stack.timeoutMs : (arrivedAt ?? now) + timeoutMs
    super(host, exchange.connection, kind, now, deadlineAt, deadlineAt)
    this.exchange = exchange
    this.request = request
    this.response = response
    this.#host = host
    this.#target = request.url ?? ''
    const wantsBytes = this.stack.telemetry.wantsBytes === true
    this.sentBytes = wantsBytes ? 0 : -1
    if (wantsBytes && exchange.bodyBytes === undefined && hasBody(request)) this.#bodyBytes = new BodyBytes(request)
    this.#callerSetDeadline = timeoutMs !== undefined
    this.#fromMesh = scan.fromMesh
    readContext(this, scan)
    if (scan.overrides !== undefined) this.takeOverrides(scan.overrides, scan.overrideProof)
  }

  override get fromMesh(): boolean {
    return this.#fromMesh
  }

  /** For its response. */
  headStored(status: number): AnswerLoad | undefined {
    return this.answers(this.verdict === undefined && httpOutcome(status, false, undefined).verdict === 'success')
  }

  /** For its response. A cancelled handler that returned no promise is done when it ends it. */
  handlerEnded(): void {
    if (this.cancelled && !this.#promised) this.handlerDone()
  }

  now(): number {
    return this.clock.now()
  }

  run(expectation: Expectation): void {
    observeResponse(this.response, this)
    bindEmitter(this.request, this)
    this.exchange.serves?.(this)
    this.#expectation = expectation
    this.startHandler('status')
  }

  /** For faults that match by header. */
  header(name: string): string | undefined {
    const value = this.request.headers[name]
    if (Array.isArray(value)) return value.join(', ')
    // An object inherits members that a header may be named like.
    return typeof value === 'string' ? value : undefined
  }

  override details(): CallDetails {
    const { request, response, exchange } = this
    const details = { ...super.details(), path: pathOf(this.#target) }
    if (this.#takenOver !== undefined) {
      const { bytesSent, bytesReceived } = this.#takenOver
      return { ...details, bytesSent, bytesReceived }
    }
    const counted = exchange.bodyBytes ?? this.#bodyBytes?.received
    const bodiless = request.method === 'HEAD' || response.statusCode === 204 || response.statusCode === 304
    return {
      ...details,
      bytesReceived: hasBody(request) ? counted : 0,
      bytesSent: bodiless ? 0 : this.sentBytes < 0 ? undefined : this.sentBytes,
    }
  }

  protected get answer(): ServerResponse {
    return this.response
  }

  protected injectFault({ status }: FaultRule): void {
    // During the delay, the caller may have left or the deadline passed.
    if (!this.listed || this.response.writableEnded) return
    if (status === undefined) this.handle()
    else this.#refuse({ status, code: 'server-error', message: 'Injected fault (`faults` of this service).' })
  }

  protected handle(): void {
    const { runInSpan } = this.#host
    // Only a recorded call has a span.
    if (runInSpan === undefined || this.observed === undefined) this.#runUserCode(callApplication)
    else this.#runUserCode(() => runInSpan(this, () => callApplication(this)))
  }

  /** @internal */
  callApplication(): unknown {
    const { request, response } = this
    const { listener, events } = this.#host.application
    if (this.#expectation === 'none') return listener(request, response)
    const handled = events?.expect(this.#expectation, request, response)
    if (handled !== undefined) return handled
    if (this.#expectation === 'checkContinue') {
      response.writeContinue()
      return listener(request, response)
    }
    this.#refuse({
      status: 417,
      code: 'protocol-error',
      message: 'Expect: only 100-continue is supported.',
    })
    return undefined
  }

  #runUserCode(work: (call: HttpServerCall) => unknown): void {
    try {
      const returned = servingFromHere(this, work)
      if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') {
        this.#promised = true
        ;(returned as PromiseLike<unknown>).then(
          () => {
            this.handlerDone()
          },
          (error: unknown) => this.userCodeFailed(error),
        )
      }
    } catch (error) {
      this.userCodeFailed(error)
    }
  }

  /** A handler that returned no promise has finished when it has ended the response. */
  override get over(): boolean {
    return super.over || (this.settled && !this.#promised && this.verdict === undefined && this.response.writableEnded)
  }

  /** Once the answer has begun, only the caller's deadline holds. */
  override get bindsUntil(): number {
    return this.#callerSetDeadline || !this.response.headersSent ? super.bindsUntil : Number.POSITIVE_INFINITY
  }

  /**
   * Runs an upgrade. It has no deadline and lasts as long as its connection. `early`: bytes that
   * came with the request.
   */
  runUpgrade(work: () => unknown, early: number): void {
    const { socket } = this.exchange
    this.deadlineAt = Number.POSITIVE_INFINITY
    this.dueAt = Number.POSITIVE_INFINITY
    socket.once('close', () => this.finish())
    this.#takenOver = new TakenOver(this.request, socket, early)
    bindEmitter(this.request, this)
    guardEmitter(socket, this)
    this.#runUserCode(work)
    if (this.#host.state === 'finishing') this.goAway()
  }

  /** The server is closing: asks a WebSocket to close. */
  goAway(): void {
    this.#takenOver?.goAway()
  }

  protected ending(): Outcome | undefined {
    const { response } = this
    const status = this.#takenOver?.status ?? (response.headersSent ? response.statusCode : 0)
    this.attempt.status = status
    if (this.verdict !== undefined) return this.verdict
    const answered = this.#takenOver === undefined ? response.writableFinished : status > 0
    return answered ? httpOutcome(status, false, undefined) : undefined
  }

  protected override ended(): void {
    this.exchange.answered(this.response)
  }

  protected deadlineDue(now: number): void {
    if (!this.#callerSetDeadline && this.#bodiesMove(now)) this.#host.deadlines.watch(this, now)
    else this.giveUp(this.deadlinePassed())
  }

  /** Its request takes too long to arrive. */
  overdue(): void {
    if (!this.request.complete) this.exchange.overdue?.()
  }

  #bodiesMove(now: number): boolean {
    this.#progress ??= new BodyProgress(this.request, this.response, this.exchange.socket)
    const checkMs = this.#progress.nextCheckMs(now, this.stack.timeoutMs)
    if (checkMs === undefined) return false
    this.dueAt = now + checkMs
    if (!this.response.headersSent) this.deadlineAt = this.dueAt
    return true
  }

  protected giveUp(cause: MeshError): void {
    const { request, response } = this
    if (response.writableEnded || this.verdict !== undefined) {
      // The answer is complete, but the caller does not read it.
      this.exchange.cutOff()
      return
    }
    this.verdict = outcome('failure', cause.code, cause)
    if (response.headersSent || this.#takenOver !== undefined) {
      this.cancel(cause)
      this.exchange.socket.destroy()
      return
    }
    const closed = cause.code === 'closed'
    this.#refuse({
      status: closed ? 503 : (REFUSAL_STATUS[cause.code] ?? 504),
      code: cause.code,
      message: closed ? 'The server is going away.' : cause.message,
      // A sender that has not finished by now may never do so.
      close: closed || this.connection.denied || !request.complete,
    })
    discardWrites(response)
    this.cancel(cause)
  }

  userCodeFailed(error: unknown): void {
    this.handlerDone()
    const { request, response } = this
    const { socket } = this.exchange
    // A handler that throws because it was cancelled is right to do so.
    if (this.cancelled) return
    const path = (request.url ?? '').split('?', 1)[0]!
    this.#host.handlerFailed(error, this.kind.method, path)
    if (this.verdict !== undefined || response.writableEnded || !this.listed) return
    if (response.headersSent || this.#takenOver !== undefined) {
      this.verdict = outcome('failure', 'server-error', error)
      if (response.headersSent || this.#takenOver?.hasWritten) socket.destroy()
      else {
        socket.write(UPGRADE_FAILED)
        socket.destroySoon()
      }
      return
    }
    const problem = problemOf(error)
    this.verdict = { ...httpOutcome(problem?.status ?? 500, false, undefined), cause: error }
    if (problem === undefined) this.#refuse({ status: 500, code: 'server-error', message: 'The handler failed.' })
    else this.#sent(answerProblem(request, response, problem))
    discardWrites(response)
  }

  #refuse(refusal: Refusal): void {
    this.#sent(refuse(this.request, this.response, refusal))
  }

  /** An answer of ours, in place of the handler's. */
  #sent(length: number): void {
    if (this.sentBytes >= 0) this.sentBytes = length
  }

  protected refuse(code: ErrorCode, message: string): void {
    const status = REFUSAL_STATUS[code] ?? 503
    const notExecuted = code !== 'permission-denied'
    const retryAfter = status === 503 || status === 429
    const { denied } = this.connection
    const close = denied || this.exchange.leaveAt <= this.startedAt
    const marker = denied ? identityRefusal('denied') : code
    this.#refuse({ status, code, message, notExecuted: notExecuted && marker, retryAfter, close })
    this.attempt.status = status
    endCall(this.stack, this, outcome(notExecuted ? 'refused' : 'failure', code, undefined, status))
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined
}

function callApplication(call: HttpServerCall): unknown {
  return call.callApplication()
}

const REFUSAL_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  'identity-rejected': 403,
  'permission-denied': 403,
  'deadline-exceeded': 504,
  'rate-limited': 429,
  'global-rate-limited': 429,
}

const UPGRADE_FAILED = 'HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'
