/**
 * One attempt of an HTTP call, and undici's handler for it. It owns its timer and its cancellation,
 * because undici can neither time nor abort precisely.
 *
 * - waiting -> written: a connection is assigned and the bytes go out (`sent`)
 * - written -> collecting: a short answer, buffered until its end
 * - written -> deciding: an answer of unknown length; complete in the same packet, it counts as
 *   short
 * - written -> limited: a failure, buffered up to a bound
 * - limited -> leftover: beyond the bound and final, so the caller reads the rest
 * - written, deciding -> streaming: handed to the caller, so no more attempts follow
 * - any -> over: settled, exactly once
 */
import type { Dispatcher } from 'undici'
import { lengthOf } from '../../core/digits.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { NOT_EXECUTED } from '../../core/headers.ts'
import type { LoadReport } from '../../core/load-report.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../core/outcome.ts'
import { answerBegins } from '../../resilience/execution.ts'
import { ClientAttempt } from '../attempt.ts'
import { IdleReader } from './body/idle-reader.ts'
import { RepeatableBody } from './body/repeatable.ts'
import { type AnswerSource, ResponseBody } from './body/response.ts'
import { type BodyWriter, StreamedBody } from './body/streamed.ts'
import type { HttpCall } from './call.ts'
import { CONNECTION_LOST, type ConnectionUser, type RequestConnection, type RequestPool } from './connection-user.ts'
import type { ReceivedHeaders } from './headers.ts'
import { mirrorRequest } from './mirror.ts'
import {
  answerOutcome,
  endsWithConnection,
  isEventStream,
  isInvalid,
  isUnsendable,
  isUnsent,
  outcomeOf,
} from './outcome.ts'
import { attemptHeaders, dispatchOptions } from './prepare-request.ts'

/**
 * Bodies up to this size are buffered before the caller gets the answer. Of a dropped answer, no
 * more is read.
 */
const SMALL_BYTES = 65_536

/** An unread answer keeps a connection that others wait for no longer than this. */
const UNREAD_MS = 5_000

const ABORTED = Object.freeze(new Error('the attempt is over'))

type Phase = 'waiting' | 'written' | 'collecting' | 'deciding' | 'limited' | 'streaming' | 'leftover'

export class HttpAttempt
  extends ClientAttempt
  implements Dispatcher.DispatchHandler, ConnectionUser, AnswerSource, BodyWriter
{
  declare readonly call: HttpCall
  waitingIn: RequestPool | undefined = undefined
  ahead: ConnectionUser | undefined = undefined
  behind: ConnectionUser | undefined = undefined
  #phase: Phase = 'waiting'
  #connection: RequestConnection | undefined = undefined
  #controller: Dispatcher.DispatchController | undefined = undefined
  #statusText = ''
  #headers: ReceivedHeaders | undefined = undefined
  #body: ResponseBody | undefined = undefined
  #outcome: Outcome = SUCCESS
  /** The caller's request stream has nothing to send. */
  #sourceWaits = false
  /** The caller reads the answer more slowly than it arrives. */
  #readerWaits = false
  /** This attempt's stream of a body that other attempts may send as well. */
  #upload: StreamedBody | undefined = undefined
  #idleReader: IdleReader | undefined = undefined
  #handedOverAt = 0

  second(): HttpAttempt {
    return new HttpAttempt(this.call, this.resolve, this.reject, this.driven)
  }

  override get bytesSent(): number {
    const content = this.call.request.body?.content
    if (content === undefined || !this.sent) return 0
    if (content instanceof StreamedBody) return content.bytes
    return content instanceof RepeatableBody ? (this.#upload?.bytes ?? 0) : content.length
  }

  override get bytesReceived(): number {
    return this.#body?.received ?? 0
  }

  // The pool's answers.

  assigned(connection: RequestConnection): void {
    const { request } = this.call
    const now = this.launching ? this.startedAt : this.call.stack.clock.now()
    this.#connection = connection
    this.transport = connection.transport
    this.connectedAt = now
    this.connecting = connection.connecting
    let content = request.body?.content
    if (content instanceof RepeatableBody) {
      content.onOutgrown = () => this.#outgrown()
      content = content.open()
      this.#upload = content
    }
    if (content instanceof StreamedBody) content.writer = this
    if (this.call.mirrors?.wanted) mirrorRequest(this.call, content, this.#upload)
    connection.dispatch(
      dispatchOptions(this, request, attemptHeaders(this, request, now), content, request.upgrade),
      this,
    )
  }

  refused(code: ErrorCode, cause: unknown): void {
    if (!this.over) this.end(makeOutcome('refused', code, cause))
  }

  // undici's callbacks.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.over) {
      controller.abort(ABORTED)
      return
    }
    this.#controller = controller
    this.#phase = 'written'
    this.sent = true
  }

  loadArrived(load: LoadReport): void {
    this.report = load
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: ReceivedHeaders,
    statusText = '',
  ): void {
    if (this.over) return
    this.call.observer?.headArrived(status, headers, statusText, controller.rawHeaders)
    // The observer may end the attempt.
    if (status < 200 || this.over) return
    this.status = status
    this.#statusText = statusText
    this.#headers = headers
    this.#body = new ResponseBody()
    this.takeReport(headers)
    if (status >= 400 || headers[NOT_EXECUTED] !== undefined) {
      const said = answerOutcome(status, headers, this.call.stack.clock, this.call)
      this.#outcome = status === 504 ? this.told(said) : said
      if (said.code === 'identity-rejected') {
        this.#connection?.refusedUs(said.cause)
        this.end(said)
        this.abort()
        return
      }
    }
    const length = headers['content-length']
    const bytes = typeof length === 'string' ? lengthOf(length) : -1
    if (
      (bytes >= 0 && bytes <= (this.call.kind.streaming ? 0 : SMALL_BYTES)) ||
      status === 204 ||
      status === 304 ||
      this.call.request.method === 'HEAD'
    ) {
      this.#phase = 'collecting'
    } else if (this.#outcome !== SUCCESS) this.#phase = 'limited'
    else if (length !== undefined) this.#handOver(controller)
    else {
      this.#phase = 'deciding'
      queueMicrotask(() => {
        if (this.#phase === 'deciding' && !this.over) this.#handOver(controller)
      })
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const body = this.#body
    if (body === undefined || (this.over && this.#phase !== 'leftover')) return
    body.push(chunk)
    if (this.#phase === 'limited' && body.buffered > SMALL_BYTES) this.end(this.#outcome)
  }

  onBodySent(chunk: Buffer): void {
    this.call.observer?.bodySent(chunk)
  }

  onRequestSent(): void {
    this.call.observer?.requestSent()
  }

  onResponseStarted(): void {
    this.call.observer?.responseStarted()
  }

  onResponseEnd(_controller: Dispatcher.DispatchController, trailers?: ReceivedHeaders): void {
    if (this.#body !== undefined) this.#body.trailers = trailers
    const connection = this.#letGo()
    if (this.#phase === 'leftover') {
      this.stopTimer()
      this.#body!.end()
      this.call.finish()
      return
    }
    if (this.over || this.#body === undefined) return
    if (connection?.brokenOff === true && this.#phase !== 'collecting' && endsWithConnection(this.#headers!)) {
      // Without a length, a broken connection looks like the end of the body.
      this.end(
        makeOutcome('failure', 'connection-lost', new Error('the connection broke within the body'), this.status),
      )
      return
    }
    this.#body.end()
    this.end(this.#outcome)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const connection = this.#letGo()
    if (this.#phase === 'leftover') {
      this.#breakOff(makeOutcome('failure', 'connection-lost', error))
      return
    }
    if (this.over) return
    if (isUnsendable(error)) this.sent = false
    if (isInvalid(error)) this.end(makeOutcome('cancelled', 'invalid-options', error))
    else if (isUnsent(error) && !(this.call.request.body?.content instanceof StreamedBody)) {
      this.#phase = 'waiting'
      this.sent = false
      this.#upload?.abandon(ABORTED)
      this.connect()
    } else if (this.#phase !== 'waiting') this.end(this.lost(outcomeOf(error)))
    // It closed before a byte was written. The same attempt takes the next, within its time.
    else if (error === CONNECTION_LOST || connection?.usable !== true) this.connect()
    else this.end(makeOutcome('refused', 'connect-failed', error))
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, ..._answer: unknown[]): void {
    controller.abort(ABORTED)
  }

  /** What the head of its answer says; `undefined`: none has come. */
  protected get said(): Outcome | undefined {
    return this.#headers === undefined ? undefined : this.#outcome
  }

  protected override end(outcome: Outcome): void {
    super.end(outcome)
    // Another attempt sends it from the start; the rest of this one only keeps the network busy.
    this.#upload?.abandon(ABORTED)
  }

  // The source of a streamed request.

  /** No other attempt can send it. */
  #outgrown(): void {
    if (!this.over && !this.call.committed) this.commit(this.call.deadlineAt)
  }

  sourceWaits(waits: boolean): void {
    this.#sourceWaits = waits
    this.peerWaits(waits || this.#readerWaits)
  }

  // The reader of a streaming body.

  pauseBody(): void {
    this.#readerWaits = true
    this.peerWaits(true)
    this.#controller?.pause()
  }

  resumeBody(): void {
    this.#readerWaits = false
    this.peerWaits(this.#sourceWaits)
    this.#controller?.resume()
  }

  /** Releases a connection that others wait for, if its caller has not begun to read. */
  giveBackUnread(now: number): boolean {
    if (!this.#readerWaits || this.#body!.touched || now - this.#handedOverAt < UNREAD_MS) return false
    this.#body!.abandon(new Error('the answer was not read, and others waited for its connection'))
    return true
  }

  cancelBody(reason: unknown): void {
    if (!this.over) this.end(makeOutcome('cancelled', 'cancelled', reason))
    else if (this.#phase === 'leftover') this.#breakOff(makeOutcome('cancelled', 'cancelled', reason))
    this.abort()
  }

  override timeUp(): void {
    if (this.#phase === 'leftover') this.#breakOff(makeOutcome('failure', 'deadline-exceeded'))
    super.timeUp()
  }

  protected connect(): void {
    this.pool.take(this)
  }

  protected get pool(): RequestPool {
    return this.call.transport.poolOf(this.endpoint!)
  }

  protected leaveQueue(): void {
    if (this.waitingIn !== undefined) this.waitingIn.leave(this)
  }

  protected get reachable(): boolean {
    return this.pool.reachable
  }

  /** Gives the caller the answer now and the body as it arrives. */
  #handOver(controller: Dispatcher.DispatchController): void {
    const { call } = this
    const { clock } = call.stack
    const until = call.kind.streaming ? Number.POSITIVE_INFINITY : call.deadlineAt
    this.#controller = controller
    this.#phase = 'streaming'
    this.#handedOverAt = clock.now()
    if (call.kind.streaming || isEventStream(this.#headers!)) answerBegins(call.stack, this)
    this.commit(until)
    if (until - this.#handedOverAt > call.idleMs) this.#idleReader = new IdleReader(clock, this.#body!, call.idleMs)
    this.#answer()
  }

  protected get holdUp(): string {
    return this.#readerWaits
      ? 'nobody read the answer as fast as it came'
      : 'the source of the request body had nothing to send'
  }

  #answer(): void {
    const body = this.#body!
    body.stream(this)
    try {
      this.resolve(this.call.answered(this.status, this.#statusText, this.#headers!, body, this.endpoint))
    } catch (error) {
      // Below us is a parser, which would end the connection and leave the caller waiting.
      this.reject(this.call.failure(makeOutcome('failure', 'protocol-error', error)))
      if (!body.complete) this.cancelBody(error)
      return
    }
    if (!body.complete) this.forgetCaller()
  }

  protected superseded(): void {
    if (this.#phase === 'limited') this.abort()
  }

  protected conclude(outcome: Outcome): void {
    const { call } = this
    this.#idleReader?.stop()
    if (this.#phase === 'limited' && !this.#body!.complete && outcome === this.#outcome) {
      // A final failure with a long body: the caller reads it.
      this.#phase = 'leftover'
      this.rearm(call.deadlineAt)
      call.leftover = () => this.#breakOff(makeOutcome('cancelled', 'cancelled'))
      this.#answer()
      return
    }
    call.finish()
    if (this.#phase === 'streaming') {
      if (outcome !== this.#outcome) this.#body!.fail(call.failure(outcome))
    } else if (this.#body?.complete === true) this.#answer()
    else this.reject(call.failure(outcome))
  }

  /** The call is settled, its body is not: fails the reader and closes the connection. */
  #breakOff(outcome: Outcome): void {
    this.stopTimer()
    this.#body!.fail(this.call.failure(outcome))
    this.call.finish()
    this.abort()
  }

  /** Closes the connection if the request is on it. */
  protected abort(): void {
    this.#controller?.abort(ABORTED)
  }

  #letGo(): RequestConnection | undefined {
    const connection = this.#connection
    this.#connection = undefined
    this.#controller = undefined
    if (connection !== undefined) this.pool.release(connection)
    return connection
  }
}
