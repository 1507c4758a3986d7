/**
 * One attempt of a gRPC call and grpc-js's listener for it. It sends the call's buffered messages
 * one by one, and holds its answer back while another attempt may still follow.
 *
 * waiting -> open: a connection is established, the stream begins (`sent`)
 * open -> held: headers or the only answer are here, the status is not
 * open, held -> handed over: the caller gets them, no more attempts
 * any -> over: settled, exactly once
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { ErrorCode } from '../../core/errors.ts'
import { LOAD, NOT_EXECUTED } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome } from '../../core/outcome.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import { answerBegins } from '../../resilience/execution.ts'
import { ClientAttempt } from '../attempt.ts'
import type { GrpcCall } from './call.ts'
import { changeAnswer } from './changed-answer.ts'
import type { CallOwner, GrpcConnection } from './connection.ts'
import type { GrpcConnectionUser } from './connection-user.ts'
import { authorized, credentialsFailure } from './credentials.ts'
import type { CarriedCall } from './grpc-js.ts'
import { mirrorMessages } from './mirror.ts'
import { isCutShort, outcomeOfStatus, type StatusSource } from './outcome.ts'
import type { Entry } from './replay-buffer.ts'
import type { CarryingStream } from './stream.ts'

export class GrpcAttempt extends ClientAttempt implements GrpcConnectionUser, StatusSource, CallOwner {
  declare readonly call: GrpcCall
  #connection: GrpcConnection | undefined = undefined
  #inner: CarriedCall | undefined = undefined
  /** Index of the next message to send. One is in flight at a time. */
  #next = 0
  #sending = false
  #pumping = false
  #halfClosed = false
  headers: grpc.Metadata | undefined = undefined
  leaving = false
  stream: CarryingStream | undefined = undefined
  httpStatus = 0
  trailers: IncomingHttpHeaders | undefined = undefined
  #message: Buffer | undefined = undefined
  #received = 0
  #status: grpc.StatusObject | undefined = undefined
  /** The status of a broken answer. */
  #brokenWith: number | undefined = undefined
  #handedOver = false
  /** Waits for the caller's call credentials. */
  #asking = false
  /** The caller's metadata and what the credentials added for this attempt. */
  #authorized: grpc.Metadata | undefined = undefined

  second(): GrpcAttempt {
    return new GrpcAttempt(this.call, this.resolve, this.reject, this.driven)
  }

  get authContext(): ReturnType<CarriedCall['getAuthContext']> {
    return this.#inner?.getAuthContext() ?? null
  }

  get answered(): boolean {
    return this.#message !== undefined
  }

  get ended(): boolean {
    return this.over
  }

  override get bytesSent(): number {
    return this.sent ? this.call.outbox.total : 0
  }

  override get bytesReceived(): number {
    return this.#received
  }

  // The pool's answers.

  assigned(connection: GrpcConnection): void {
    this.#connection = connection
    this.sent = connection.ready
    this.transport = connection.transport
    this.call.enter(open, this, connection)
  }

  /** @internal */
  open(connection: GrpcConnection): void {
    const { call } = this
    const { path, authority, sentDeadlineAt: deadlineAt } = call
    const metadata = this.#authorized ?? call.metadata
    const now = this.launching ? this.startedAt : call.stack.clock.now()
    this.connectedAt = now
    this.connecting = connection.connecting
    let inner: CarriedCall
    try {
      inner = connection.begin({ path, authority, metadata, attempt: this, deadlineAt, now }, this)
    } catch (error) {
      this.sent = false
      this.end(makeOutcome('refused', 'connect-failed', error))
      return
    }
    this.#inner = inner
    call.opened(this)
    if (call.reading) inner.startRead()
    this.pump()
  }

  refused(code: ErrorCode, cause: unknown): void {
    if (!this.over) this.end(makeOutcome('refused', code, cause))
  }

  cut(cause: Error): void {
    if (this.over) return
    this.end(makeOutcome('failure', 'connection-lost', cause))
    this.abort()
  }

  // The caller's side.

  /** Sends messages, each when the one before has left. */
  pump(): void {
    const inner = this.#inner
    if (inner === undefined || this.over || this.#pumping) return
    const { outbox } = this.call
    this.#pumping = true
    while (!this.#sending) {
      const entry = outbox.at(this.#next)
      if (entry === undefined) break
      this.#sending = true
      this.#next += 1
      const context = entry.context(() => this.#written(entry))
      inner.sendMessageWithContext(context, entry.message)
    }
    this.#pumping = false
    if (outbox.closed && this.#next === outbox.end && !this.#halfClosed) {
      this.#halfClosed = true
      inner.halfClose()
      if (this.call.mirrors?.wanted) mirrorMessages(this.call, this.#authorized)
    }
    if (this.call.answersOnce || !this.#handedOver) this.peerWaits(this.#awaitsCaller())
  }

  /** The caller is ready for another message. */
  read(): void {
    if (this.#handedOver && !this.call.answersOnce) this.peerWaits(false)
    if (!this.over) this.#inner?.startRead()
  }

  // grpc-js's callbacks.
  onReceiveMetadata(metadata: grpc.Metadata): void {
    if (this.over) return
    this.#heard()
    metadata.remove(NOT_EXECUTED)
    metadata.remove(LOAD)
    changeAnswer(metadata, this.call, this.endpoint)
    this.headers = metadata
    // A unary answer is held until its status, unless the caller may wait for headers before it
    // sends the rest. For a stream, a status in the same packet comes first.
    const { call } = this
    if (!call.answersOnce || !call.outbox.closed) setImmediate(handOver, this)
  }

  onReceiveMessage(message: Buffer): void {
    if (this.over) return
    this.#received += message.length
    this.#heard()
    const { call } = this
    if (message.length > call.largestMessage) {
      const cause = new Error(`a message of ${message.length} bytes, more than ${call.largestMessage}`)
      this.end(makeOutcome('failure', 'response-too-large', cause))
      this.abort()
    } else if (!call.answersOnce) {
      this.handOver()
      call.deliverMessage(message)
      this.peerWaits(!call.reading)
    } else if (this.#message === undefined) {
      this.#message = message
      // grpc-js delivers a second answer only if it is asked for.
      this.#inner!.startRead()
    } else {
      this.end(makeOutcome('failure', 'protocol-error', new Error('several messages for a method with one')))
      this.abort()
    }
  }

  onReceiveStatus(status: grpc.StatusObject): void {
    if (this.over) return
    const { call } = this
    let outcome = outcomeOfStatus(status, this.#connection!, this)
    this.status = status.code
    if (
      outcome.verdict === 'success' &&
      status.code === GRPC_STATUS.OK &&
      call.answersOnce &&
      this.#message === undefined
    )
      outcome = makeOutcome('failure', 'protocol-error', new Error('no message for a method with one'))
    const now = call.stack.clock.now()
    if (this.trailers !== undefined) this.takeReport(this.trailers)
    // At the deadline, the callee may give up first.
    if (outcome.verdict === 'failure' && outcome.status === undefined && now >= call.deadlineAt)
      outcome = makeOutcome('failure', 'deadline-exceeded')
    else if (outcome.code === 'protocol-error' && status.code !== GRPC_STATUS.OK) this.#brokenWith = status.code
    this.sent = outcome.verdict === 'success' || outcome.verdict === 'failure'
    if (outcome.code === 'deadline-exceeded' || outcome.status === GRPC_STATUS.DEADLINE_EXCEEDED) {
      outcome = this.told(outcome)
    } else if (
      outcome.code === 'connection-lost' ||
      (outcome.code === 'protocol-error' && outcome.status === undefined)
    ) {
      // The peer broke off without a gRPC status.
      outcome = this.lost(outcome)
    }
    // Only a status of the peer, not one that grpc-js made up.
    if (outcome.verdict === 'success' || outcome.status !== undefined || isCutShort(status, this)) {
      this.#status = status
      if (this.sent) this.#connection!.heard(now)
    }
    this.end(outcome)
  }

  /** Gives the caller the headers now and the rest as it arrives. */
  handOver(): void {
    if (this.over || this.#handedOver) return
    const { call } = this
    // The requests have ended in the meantime.
    if (call.answersOnce && call.outbox.closed) return
    this.#handedOver = true
    // A unary answer still waits for its requests.
    if (!call.answersOnce) this.peerWaits(false)
    if (call.kind.streaming) answerBegins(call.stack, this)
    this.commit(call.answersOnce ? call.deadlineAt : call.lastDeadlineAt)
    call.answered(this.headers)
  }

  override timeUp(): void {
    const connection = this.over ? undefined : this.#connection
    super.timeUp()
    if (this.over && connection !== undefined) {
      this.call.transport.poolOf(this.endpoint!).silent(connection, this.startedAt)
    }
  }

  override giveUp(cause: unknown): void {
    // Some microtasks pass between start and stream. Given up meanwhile, it was not sent.
    if (!this.leaving) this.sent = false
    super.giveUp(cause)
  }

  protected connect(): void {
    if (this.call.credentials === undefined) this.call.transport.poolOf(this.endpoint!).take(this)
    else this.call.enter(authorize, this, this.call.credentials)
  }

  /** @internal */
  authorize(credentials: grpc.CallCredentials): void {
    const { metadata, path, authority } = this.call
    this.#asking = true
    this.peerWaits(true)
    authorized(metadata, credentials, path, authority).then(
      (given) => this.#take(given),
      (error) => this.#unauthorized(error),
    )
  }

  /** The credentials have answered. */
  #take(metadata: grpc.Metadata): void {
    if (this.over) return
    this.#asking = false
    this.peerWaits(false)
    this.#authorized = metadata
    this.call.transport.poolOf(this.endpoint!).take(this)
  }

  /** They have failed. The fault is ours and says nothing about the endpoint. */
  #unauthorized(error: unknown): void {
    if (this.over) return
    const { code, details } = credentialsFailure(error)
    this.#status = { code, details, metadata: new this.call.transport.grpc.Metadata() }
    this.end(makeOutcome('cancelled', 'cancelled', error, code))
  }

  protected leaveQueue(): void {
    const connection = this.#connection
    if (connection === undefined) {
      if (!this.#asking) this.call.transport.poolOf(this.endpoint!).leave(this)
      return
    }
    if (this.#inner !== undefined) this.call.ended(this)
    connection.release(this.leaving && this.trailers === undefined)
  }

  protected get holdUp(): string {
    if (this.#asking) return 'the call credentials did not answer'
    return this.#handedOver && !this.call.reading
      ? 'the caller did not read the next message'
      : 'the caller had no further message to send'
  }

  protected abort(): void {
    this.#inner?.cancelWithStatus(GRPC_STATUS.CANCELLED, 'the attempt is over')
  }

  protected get reachable(): boolean {
    return this.call.transport.poolOf(this.endpoint!).reachable
  }

  protected superseded(): void {}

  protected conclude(outcome: Outcome): void {
    const { call } = this
    call.finish()
    const status = this.#status
    if (status === undefined) this.reject(call.failure(outcome, this.#brokenWith))
    else {
      const headers = this.#handedOver ? undefined : this.headers
      this.resolve({ headers, message: this.#message, status: call.explained(status, outcome) })
    }
  }

  /**
   * A client stream is answered when its requests end. A bidirectional stream waits for the caller
   * with certainty only before its first message.
   */
  #awaitsCaller(): boolean {
    const { answersOnce, outbox } = this.call
    const idle = !outbox.closed && !this.#sending && this.#next === outbox.end
    return idle && (answersOnce || this.#next === 0)
  }

  #written(entry: Entry): void {
    this.#sending = false
    const { call } = this
    if (!this.over && !call.committed && call.outbox.outgrown) this.commit(call.deadlineAt)
    if (call.committed && call.open[0] === this) call.outbox.release(this.#next)
    // Taken at once: its writer's code runs later, so that an endless source cannot hold the loop.
    if (this.#pumping) entry.writtenSoon()
    else {
      entry.written()
      this.pump()
    }
  }

  #heard(): void {
    this.sent = true
    this.transport = this.#connection!.transport
    this.#connection!.heard(this.call.stack.clock.now())
  }
}

function handOver(attempt: GrpcAttempt): void {
  attempt.handOver()
}

function open(attempt: GrpcAttempt, connection: GrpcConnection): void {
  attempt.open(connection)
}

function authorize(attempt: GrpcAttempt, credentials: grpc.CallCredentials): void {
  attempt.authorize(credentials)
}
