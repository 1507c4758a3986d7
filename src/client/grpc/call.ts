/**
 * One gRPC call of a client: grpc-js's `Call` for the generated client above, the mesh's call for
 * the attempts below. It handles serialized messages, so that a retry sends the same bytes.
 */
import type * as grpc from '@grpc/grpc-js'
import type { Call, HashKey } from '../../core/call.ts'
import { joinLines } from '../../core/field-value.ts'
import { LOAD, NOT_EXECUTED } from '../../core/headers.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { RequestHead } from '../../core/request-head.ts'
import { ROUTE_OVERRIDES } from '../../core/route-overrides.ts'
import { GRPC_STATUS, grpcOutcome, grpcStatusOf } from '../../core/status.ts'
import type { Provisional } from '../../resilience/stack.ts'
import { ClientCall } from '../call.ts'
import { callError } from '../call-error.ts'
import { leaveSignal } from '../call-options.ts'
import type { LocalAnswer } from '../local-end.ts'
import type { Routed } from '../routed.ts'
import type { Selection, Selector } from '../selection.ts'
import { GrpcAttempt } from './attempt.ts'
import { type Answer, withCause } from './call-answer.ts'
import { GrpcCaller } from './caller.ts'
import type { GrpcJsCall, MessageContext } from './grpc-js.ts'
import { changeMetadata } from './headers.ts'
import { localStatus } from './local-status.ts'
import type { GrpcMethod } from './method.ts'
import { onCancelled } from './parent-call.ts'
import type { GrpcCallSettings } from './promises/call-settings.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import type { GrpcTransport } from './transport.ts'

type AuthContext = ReturnType<GrpcJsCall['getAuthContext']>

const NONE: readonly GrpcAttempt[] = Object.freeze([])

let lastNumber = 0

export class GrpcCall extends ClientCall implements GrpcJsCall, RequestHead {
  readonly transport: GrpcTransport
  readonly path: string
  /** As the caller names it, or as a route rewrites it. */
  host: string | null | undefined
  readonly answersOnce: boolean
  readonly largestMessage: number
  /**
   * The caller's own and the inherited deadline. They bound a stream once its answer has begun.
   */
  lastDeadlineAt: number
  metadata!: grpc.Metadata
  credentials: grpc.CallCredentials | undefined = undefined
  readonly outbox = new ReplayBuffer()
  /** Attempts whose stream has begun and not ended. */
  open: readonly GrpcAttempt[] = NONE
  /** The caller has asked for a message that it has not been given. */
  reading = false
  /** The caller's metadata, if a route that mirrors has changed them. */
  given: grpc.Metadata | undefined = undefined
  readonly #number = ++lastNumber
  readonly #signal: AbortSignal | undefined
  readonly #settings: GrpcCallSettings | undefined
  readonly #service: Selector<GrpcTransport>
  readonly #method: GrpcMethod
  readonly #caller = new GrpcCaller()
  /** The caller is inside one of our methods, so callbacks wait until it returns. */
  #calling = false
  /** Removes our listener from the call that `parent` names, which may outlive this one. */
  #leaveParent: (() => void) | undefined = undefined
  /** The status with which the caller cancelled it. */
  #cancelledWith: { readonly code: number; readonly details: string } | undefined = undefined

  constructor(
    service: Selector<GrpcTransport>,
    method: GrpcMethod,
    host: string | null | undefined,
    timeoutMs: number,
    settings: GrpcCallSettings | undefined,
    parent: Call | undefined,
  ) {
    const { stack } = service.unrouted(method.path, method.kind.streaming)
    super({ stack, kind: method.kind, routed: undefined }, timeoutMs, parent)
    this.lastDeadlineAt = Math.min(this.startedAt + timeoutMs, parent?.deadlineAt ?? Number.POSITIVE_INFINITY)
    this.#service = service
    this.transport = service.transport
    this.path = method.path
    this.host = host
    this.answersOnce = method.answersOnce
    this.largestMessage = method.largestMessage
    this.#method = method
    this.#signal = settings?.signal
    this.#settings = settings
    if (settings === undefined) return
    settings.running += 1
    if (settings.idempotent !== undefined) this.idempotent = settings.idempotent
    if (settings.key !== undefined) this.hashKey = settings.key
    if (settings.once) this.once()
  }

  /**
   * The deadline sent to the callee. The service's timeout ends no stream whose answer has begun.
   */
  get sentDeadlineAt(): number {
    return this.answersOnce ? this.deadlineAt : this.lastDeadlineAt
  }

  /** The called service's name, also at the endpoints of another. */
  get authority(): string {
    return this.host ?? this.kind.service
  }

  /** As routes read it. */
  get method(): string {
    return this.path
  }

  /** As it is sent: binary metadata as base64. */
  header(name: string): string | undefined {
    let joined: string | undefined
    for (const value of this.metadata.get(name)) {
      joined = joinLines(name, joined, typeof value === 'string' ? value : value.toString('base64'))
    }
    return joined
  }

  override keyOf(source: HashKey): string | undefined {
    const value = source.header === undefined ? undefined : this.header(source.header)
    if (value !== undefined && value !== '') return value
    return source.path ? this.path : undefined
  }

  // grpc-js's Call.

  start(metadata: grpc.Metadata, listener: grpc.InterceptingListener): void {
    // The caller may change its metadata for the next call while an attempt is still to come.
    this.metadata = metadata.clone()
    const [asked] = metadata.get(ROUTE_OVERRIDES)
    const mistake = asked === undefined ? undefined : this.#introduce(String(asked))
    this.#caller.listener = listener
    this.resolve = this.reject = (answer) => this.#deliver(answer as Answer)
    this.#calling = true
    this.take(this.selectAgain())
    this.begin()
    const signal = this.#signal
    if (signal !== undefined) {
      if (signal.aborted) this.cancel(signal.reason)
      else signal.addEventListener('abort', this)
    }
    if (mistake !== undefined) this.cancelWithStatus(GRPC_STATUS.INVALID_ARGUMENT, mistake)
    this.startFirst()
    this.#calling = false
  }

  /** Takes over overrides; returns the mistake in them. */
  #introduce(text: string): string | undefined {
    try {
      this.overrides = this.transport.overrides.introduce(text)
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }

  sendMessageWithContext(context: MessageContext, message: Buffer): void {
    if (this.settled) {
      context.callback?.()
      return
    }
    // A serializer may pass on the caller's buffer, which the caller may reuse.
    this.outbox.add(context, Buffer.from(message))
    this.#pump()
  }

  halfClose(): void {
    if (this.#method.asksOnce && this.outbox.end === 0 && !this.settled) {
      this.cancelWithStatus(
        GRPC_STATUS.INTERNAL,
        `${this.path} takes one message, and the call was half-closed without`,
      )
      return
    }
    this.outbox.closed = true
    this.#pump()
  }

  startRead(): void {
    this.reading = true
    for (let i = 0; i < this.open.length; i++) this.open[i]!.read()
  }

  cancelWithStatus(code: number, details: string): void {
    this.#cancelledWith ??= { code, details }
    // Any other status has a reason worth keeping, such as a request that cannot be serialized.
    this.#cancelLater(code === GRPC_STATUS.CANCELLED ? details : new Error(details))
  }

  setCredentials(credentials: grpc.CallCredentials): void {
    this.credentials = credentials
  }

  getPeer(): string {
    return this.endpoint?.label ?? 'unknown'
  }

  getCallNumber(): number {
    return this.#number
  }

  getAuthContext(): AuthContext {
    return this.open[0]?.authContext ?? null
  }

  /**
   * Applies grpc-js's `parent` and `propagate_flags`: the parent's deadline, if sooner, and its
   * cancellation.
   */
  inherit(parent: grpc.ServerUnaryCall<unknown, unknown>, leftMs: number, cancellation: boolean): void {
    this.lastDeadlineAt = Math.min(this.lastDeadlineAt, this.startedAt + leftMs)
    this.deadlineAt = Math.min(this.deadlineAt, this.lastDeadlineAt)
    if (cancellation) this.#leaveParent = onCancelled(parent, () => this.#cancelLater('Cancelled by parent call'))
  }

  // The attempts' side.

  /** The stream of `attempt` has begun. */
  opened(attempt: GrpcAttempt): void {
    this.open = this.open.length === 0 ? [attempt] : [...this.open, attempt]
  }

  /** It has ended. */
  ended(attempt: GrpcAttempt): void {
    this.open = this.open.length === 1 ? NONE : this.open.filter((each) => each !== attempt)
  }

  /** The caller's signal fired. */
  handleEvent(): void {
    this.#cancelLater(this.#signal?.reason)
  }

  /**
   * The answer has begun and the caller gets its headers. Only a stream of answers outlasts the
   * service's timeout.
   */
  answered(headers: grpc.Metadata | undefined): void {
    if (!this.answersOnce) this.deadlineAt = this.lastDeadlineAt
    if (headers !== undefined) this.#caller.headers(headers)
  }

  deliverMessage(message: Buffer): void {
    this.reading = false
    // A reader that threw does not ask for the rest, and without a read the call would not end.
    if (!this.#caller.message(message)) this.startRead()
  }

  /** Runs `work` in the caller's async context, because it may run user code. */
  enter<A, B>(work: (a: A, b: B) => void, a: A, b: B): void {
    if (this.#calling) work(a, b)
    else this.#caller.runInAsyncScope(work, undefined, a, b)
  }

  finish(): void {
    this.dropMirrors()
    this.#leaveParent?.()
    const settings = this.#settings
    if (settings !== undefined) {
      settings.running -= 1
      settings.sent ||= this.sent
    }
    leaveSignal(this.#signal, this)
    for (const entry of this.outbox.clear()) entry.written()
  }

  /** `brokenWith`: the status that gRPC assigns to an answer that is not gRPC. */
  failure(outcome: Outcome, brokenWith?: number): Answer {
    const error = callError(this, outcome, this.stack.clock.now())
    const cancelled = outcome.code === 'cancelled' ? this.#cancelledWith : undefined
    const code = cancelled?.code ?? brokenWith ?? grpcStatusOf(outcome.code ?? 'connection-lost')
    const metadata = new this.transport.grpc.Metadata()
    return { status: withCause({ code, details: cancelled?.details ?? error.message, metadata }, error) }
  }

  /** The peer's status; a failure gets the mesh's error as its cause. */
  explained(status: grpc.StatusObject, outcome: Outcome): grpc.StatusObject {
    status.metadata.remove(NOT_EXECUTED)
    status.metadata.remove(LOAD)
    if (outcome.verdict === 'success') return status
    return withCause(status, callError(this, outcome, this.stack.clock.now()))
  }

  protected selectAgain(): Selection {
    const { stack, routed } = this.#service.select(this, this.kind.streaming, this)
    return { stack, kind: this.#method.kindOf(routed), routed }
  }

  /** Its route is chosen when its metadata are known. */
  protected override take(selection: Selection): void {
    super.take(selection)
    const { kind, routed } = selection
    this.#mayRepeat(kind.idempotent)
    if (routed?.changesRequests !== true) return
    if (routed.mirrors.length > 0) this.given = this.metadata.clone()
    for (const changes of routed.requestChanges) changeMetadata(this.metadata, changes)
    this.host = routed.rewrite?.host ?? this.host
  }

  protected override policyArrived(provisional: Provisional): void {
    super.policyArrived(provisional)
    if (provisional.isDeclared(this.path)) this.#mayRepeat(true)
  }

  /** By its method, unless the caller says otherwise. */
  #mayRepeat(idempotent: boolean): void {
    if (this.#settings?.idempotent === undefined && !this.committed) this.idempotent = idempotent
  }

  protected answerBy(answer: LocalAnswer, routed: Routed): void {
    const status = localStatus(answer, routed, new this.transport.grpc.Metadata())
    const outcome = grpcOutcome(status.code, false, undefined, new Error(status.details))
    this.endLocally(outcome)
    this.resolve({ status: this.explained(status, outcome) })
  }

  protected attempt(
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
    driven: boolean,
  ): GrpcAttempt {
    return new GrpcAttempt(this, resolve, reject, driven)
  }

  #pump(): void {
    for (let i = 0; i < this.open.length; i++) this.open[i]!.pump()
  }

  /** Ends at once. As in grpc-js, the caller's callback runs after its current call into us. */
  #cancelLater(cause: unknown): void {
    const before = this.#calling
    this.#calling = true
    this.cancel(cause)
    this.#calling = before
  }

  #deliver(answer: Answer): void {
    if (this.#calling) process.nextTick(tell, this, answer)
    else this.tell(answer)
  }

  /** @internal */
  tell({ headers, message, status }: Answer): void {
    const caller = this.#caller
    if (headers !== undefined) caller.headers(headers)
    if (message !== undefined && (status.code === GRPC_STATUS.OK || headers !== undefined)) caller.message(message)
    caller.status(status)
  }
}

const tell = (call: GrpcCall, answer: Answer): void => call.tell(answer)
