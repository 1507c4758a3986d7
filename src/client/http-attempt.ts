/**
 * One attempt of an HTTP call, and undici's handler for it. It owns its timer and its cancellation, because undici can neither
 * stop what is queued or connecting nor time anything exactly; a request that is over before it is written is never written.
 *
 * waiting -> written: a connection is there, the bytes go out now (`sent`) · written -> collecting: a short answer, kept until its end
 * written -> deciding: an answer of unknown length; one that is complete in the same packet counts as short
 * written -> limited: a failure, kept up to a bound · limited -> leftover: beyond it and final, so the caller reads the rest
 * written, deciding -> streaming: handed to the caller, no more attempts · any -> over: settled, exactly once
 */
import type { Dispatcher } from 'undici'
import type { ErrorCode } from '../core/errors.ts'
import { NOT_EXECUTED } from '../core/headers.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../core/outcome.ts'
import { ClientAttempt } from './client-attempt.ts'
import type { HttpCall, ReceivedHeaders } from './http-call.ts'
import { GONE, type HttpConnection } from './http-connection.ts'
import { answerOutcome, isInvalid, outcomeOf } from './http-outcome.ts'
import type { ConnectionUser, HttpPool } from './http-pool.ts'
import { attemptHeaders } from './propagation.ts'
import { type BodySource, ResponseBody } from './response-body.ts'

/** Bodies up to this are collected before the caller gets the answer; it is also what is read of an answer that is dropped. */
const SMALL_BYTES = 65_536

const ABORTED = Object.freeze(new Error('the attempt is over'))

type Phase = 'waiting' | 'written' | 'collecting' | 'deciding' | 'limited' | 'streaming' | 'leftover'

export class HttpAttempt extends ClientAttempt implements Dispatcher.DispatchHandler, ConnectionUser, BodySource {
  declare readonly call: HttpCall
  waitingIn: HttpPool | undefined = undefined
  ahead: ConnectionUser | undefined = undefined
  behind: ConnectionUser | undefined = undefined
  #phase: Phase = 'waiting'
  #connection: HttpConnection | undefined = undefined
  #controller: Dispatcher.DispatchController | undefined = undefined
  #statusText = ''
  #headers: ReceivedHeaders | undefined = undefined
  #body: ResponseBody | undefined = undefined
  #outcome: Outcome = SUCCESS

  second(): HttpAttempt {
    return new HttpAttempt(this.call, this.resolve, this.reject, this.driven)
  }

  // The pool's answers.

  assigned(connection: HttpConnection): void {
    const { request } = this.call
    const body = request.body
    this.#connection = connection
    connection.dispatch(
      {
        path: request.path,
        method: request.method,
        headers: attemptHeaders(this, request.headers, this.launching ? this.startedAt : this.call.stack.clock.now()),
        body: (body === undefined ? null : body.content) as Buffer | null,
        blocking: false,
        reset: request.reset,
        // The socket is open already; without a name undici would look for one in the host header, with two expressions.
        servername: this.call.route.service,
      } as Dispatcher.DispatchOptions,
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

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: ReceivedHeaders,
    statusText = '',
  ): void {
    if (this.over) return
    this.call.observer?.headArrived(status, headers, statusText, controller.rawHeaders)
    // What the observer does may end the attempt.
    if (status < 200 || this.over) return
    this.status = status
    this.#statusText = statusText
    this.#headers = headers
    this.#body = new ResponseBody()
    if (status >= 429 || headers[NOT_EXECUTED] !== undefined) {
      this.#outcome = answerOutcome(status, headers, this.call.stack.clock)
    }
    const length = headers['content-length']
    if (
      (typeof length === 'string' && Number(length) <= SMALL_BYTES) ||
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
    if (connection?.broken === true && this.#endsWithConnection()) {
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
      this.stopTimer()
      this.#body!.fail(this.call.failure(makeOutcome('failure', 'connection-lost', error)))
      this.call.finish()
      return
    }
    if (this.over) return
    if (this.#phase !== 'waiting') this.end(outcomeOf(error))
    else if (isInvalid(error)) this.end(makeOutcome('cancelled', 'invalid-options', error))
    else if (error === GONE || connection?.usable !== true) {
      // It closed before a byte was written. The next one is looked for within the same attempt and its time.
      this.call.transport.poolOf(this.endpoint!).take(this)
    } else this.end(makeOutcome('refused', 'connect-failed', error))
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController): void {
    controller.abort(ABORTED)
  }

  // The reader of a streaming body.

  pauseBody(): void {
    this.#controller?.pause()
  }

  resumeBody(): void {
    this.#controller?.resume()
  }

  cancelBody(reason: unknown): void {
    if (!this.over) this.end(makeOutcome('cancelled', 'cancelled', reason))
    else if (this.#phase === 'leftover') {
      this.stopTimer()
      this.call.finish()
    }
    this.abort()
  }

  override timeUp(): void {
    if (this.#phase === 'leftover') this.#breakOff(makeOutcome('failure', 'deadline-exceeded'))
    super.timeUp()
  }

  protected connect(): void {
    this.call.transport.poolOf(this.endpoint!).take(this)
  }

  protected leaveQueue(): void {
    if (this.waitingIn !== undefined) this.waitingIn.leave(this)
  }

  protected get reachable(): boolean {
    return this.call.transport.poolOf(this.endpoint!).reachable
  }

  /** The caller gets the answer now and the body as it comes. */
  #handOver(controller: Dispatcher.DispatchController): void {
    const { call } = this
    this.#controller = controller
    this.#phase = 'streaming'
    this.commit(call.route.streaming ? Number.POSITIVE_INFINITY : call.deadlineAt)
    this.#answer()
  }

  #answer(): void {
    const body = this.#body!
    body.stream(this)
    this.resolve(this.call.answer(this.status, this.#statusText, this.#headers!, body))
  }

  protected superseded(): void {
    if (this.#phase === 'limited') this.abort()
  }

  protected conclude(outcome: Outcome): void {
    const { call } = this
    if (this.#phase === 'limited' && !this.#body!.complete && outcome === this.#outcome) {
      // A failure with a long body, and no further attempt: it is the caller's to read.
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

  /** The call is settled, its body is not: the reader is told, the connection is given up. */
  #breakOff(outcome: Outcome): void {
    this.stopTimer()
    this.#body!.fail(this.call.failure(outcome))
    this.call.finish()
    this.abort()
  }

  #endsWithConnection(): boolean {
    return (
      this.#phase !== 'collecting' &&
      this.#headers!['content-length'] === undefined &&
      this.#headers!['transfer-encoding'] === undefined
    )
  }

  /** Costs the connection, if the request is on it. */
  protected abort(): void {
    this.#controller?.abort(ABORTED)
  }

  #letGo(): HttpConnection | undefined {
    const connection = this.#connection
    this.#connection = undefined
    this.#controller = undefined
    if (connection !== undefined) this.call.transport.poolOf(this.endpoint!).release(connection)
    return connection
  }
}
