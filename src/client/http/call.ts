/**
 * One HTTP call, assembled from what its door was given. It settles one promise, in the async
 * context of its caller.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call, HashKey } from '../../core/call.ts'
import { type CallDetails, pathOf } from '../../core/call-details.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { MeshError } from '../../core/errors.ts'
import type { Outcome } from '../../core/outcome.ts'
import { ROUTE_OVERRIDES } from '../../core/route-overrides.ts'
import { httpOutcome } from '../../core/status.ts'
import { ClientCall } from '../call.ts'
import type { CallContext } from '../call-context.ts'
import { callError } from '../call-error.ts'
import { checkTimeout, leaveSignal } from '../call-options.ts'
import type { LocalAnswer } from '../local-end.ts'
import type { Routed } from '../routed.ts'
import type { Selection, Selector } from '../selection.ts'
import { sessionOfAnswer } from '../targets/session-answer.ts'
import type { Transport } from '../transport.ts'
import { HttpAttempt } from './attempt.ts'
import { KeptBody, RepeatableBody } from './body/repeatable.ts'
import type { RequestBody } from './body/request.ts'
import type { ResponseBody } from './body/response.ts'
import { StreamedBody } from './body/streamed.ts'
import { changedRequest } from './changed-request.ts'
import type { RequestPool } from './connection-user.ts'
import { hashKeyOf } from './hash-key.ts'
import type { ReceivedHeaders } from './headers.ts'
import { changedResponse, localResponse, withHeader } from './local-response.ts'
import { checkIdleTimeout, isIdempotent, type PreparedRequest } from './prepare-request.ts'
import type { HttpCallOptions } from './request-options.ts'

/** Up to this size, uploading does not dominate the duration of an attempt. */
const SHORT_UPLOAD_BYTES = 65_536

/** Observes the exchanges of a call beside their answer. It must not throw. */
export interface CallObserver {
  /** A head: informational (1xx), or one that may become the answer. `raw`: as undici read it. */
  headArrived(status: number, headers: ReceivedHeaders, statusText: string, raw: unknown): void
  bodySent(chunk: Buffer): void
  requestSent(): void
  responseStarted(): void
}

/** Makes the caller's response from a received head and body. */
export type Answer<R> = (status: number, statusText: string, headers: ReceivedHeaders, body: ResponseBody) => R

/** A service, as the HTTP doors know it. */
export type HttpService = Selector<Transport<RequestPool>>

export class HttpCall<R = unknown> extends ClientCall {
  readonly service: HttpService
  readonly transport: Transport<RequestPool>
  /** Replaced before it is sent by filters, or when a buffered body proves to be short. */
  request: PreparedRequest
  readonly answer: Answer<R>
  /**
   * A call cancelled by its signal rejects with the signal's reason, as `fetch` does. Set before it
   * is sent.
   */
  throwsReason = false
  observer: CallObserver | undefined = undefined
  /**
   * Ends the long body of a failure that the caller still reads after the call has settled. Runs if
   * the signal fires.
   */
  leftover: (() => void) | undefined = undefined
  /** How long a reader may leave arrived data untouched. */
  idleMs: number
  #signal: AbortSignal | undefined
  /** Of an answer that its route makes. */
  #localStatus: number | undefined = undefined
  /**
   * What the caller receives. It is kept because p-retry passes only errors on, and a signal's
   * reason may be any value.
   */
  #failure: { readonly error: unknown } | undefined = undefined

  /**
   * `from`: what routes look at, besides `request`. `selection`: of a call whose request may still
   * change. @defaultValue that of `request`
   * @throws OptionsError naming the option
   */
  constructor(
    service: HttpService,
    request: PreparedRequest,
    answer: Answer<R>,
    options: HttpCallOptions | undefined,
    signal: AbortSignal | undefined,
    parent: Call | undefined,
    from: CallContext | undefined = introducing(request, parent, service),
    selection: Selection = service.select(request, options?.streaming === true, from),
  ) {
    super(selection, options?.timeout === undefined ? Number.POSITIVE_INFINITY : checkTimeout(options.timeout), parent)
    this.service = service
    this.transport = service.transport
    if (from !== parent) this.overrides = from?.overrides
    this.request = request
    if (selection.routed?.changesRequests === true) this.request = changedRequest(request, selection.routed)
    this.keepSide()
    this.answer = answer
    this.idleMs = selection.stack.idleMs ?? Number.POSITIVE_INFINITY
    this.#signal = signal
    this.idempotent = options?.idempotent ?? isIdempotent(request.method, request.headers)
    if (options === undefined) return
    if (options.idleTimeout !== undefined) this.idleMs = checkIdleTimeout(options.idleTimeout)
    if (options.retry === false) this.once()
    if (options.key !== undefined) this.hashKey = options.key
  }

  override keyOf(source: HashKey): string | undefined {
    return hashKeyOf(source, this.request)
  }

  /** Sends it; may be called once. */
  send(): Promise<R> {
    const content = this.request.body?.content
    if (!(content instanceof KeptBody)) return this.#send(content)
    content.begin()
    return content.short().then((bytes) => {
      if (bytes === undefined) return this.#send(content)
      this.request = this.request.with({ body: { content: bytes, contentType: undefined } })
      return this.#send(bytes)
    })
  }

  #send(content: RequestBody['content'] | undefined): Promise<R> {
    const signal = this.#signal
    if (content instanceof StreamedBody) {
      // Data read from a stream cannot be sent again.
      this.idempotent = false
      this.uploads = true
      content.onTouched = () => {
        this.committed = true
      }
      content.onFailed = (error) => this.cancel(error)
    } else if (content instanceof RepeatableBody) {
      this.uploads = (this.request.body!.length ?? Number.POSITIVE_INFINITY) > SHORT_UPLOAD_BYTES
      if (!content.shareable) this.hedged = true
      content.onFailed = (error) => this.cancel(error)
    }
    this.begin()
    return new Promise<R>((resolve, reject) => {
      this.resolve = resolve as (answer: unknown) => void
      this.reject = reject
      if (signal !== undefined) {
        if (signal.aborted) this.cancel(signal.reason)
        else signal.addEventListener('abort', this)
      }
      // Still in the turn that made the call.
      this.startFirst(this.startedAt)
    })
  }

  /** Takes over the request of `made`. */
  protected takeOver(made: HttpCall<R>): void {
    this.stack = made.stack
    this.routed = made.routed
    this.overrides = made.overrides
    this.request = made.request
    this.idleMs = made.idleMs
    this.#signal = made.#signal
    this.keepSide()
  }

  /** The caller's signal fired. */
  handleEvent(): void {
    if (this.settled) this.leftover?.()
    else this.cancel(this.#signal?.reason)
  }

  finish(): void {
    this.leftover = undefined
    this.dropMirrors()
    if (this.#signal !== undefined) leaveSignal(this.#signal, this)
    const content = this.request.body?.content
    if (content instanceof StreamedBody) content.stop()
    else if (content instanceof RepeatableBody) content.close()
  }

  failure(outcome: Outcome): unknown {
    const error: unknown | MeshError =
      this.throwsReason && outcome.code === 'cancelled' && this.#signal?.aborted === true
        ? reasonOf(this.#signal)
        : callError(this, outcome, this.stack.clock.now())
    this.#failure = { error }
    return error
  }

  protected selectAgain(): Selection {
    return this.service.select(this.request, this.kind.streaming, this)
  }

  protected override take(selection: Selection): void {
    super.take(selection)
    if (this.idleMs === Number.POSITIVE_INFINITY) this.idleMs = this.stack.idleMs ?? this.idleMs
    if (this.routed?.changesRequests === true) this.request = changedRequest(this.request, this.routed)
  }

  /** What the caller receives of a peer's answer. */
  answered(
    status: number,
    statusText: string,
    received: ReceivedHeaders,
    body: ResponseBody,
    endpoint: Endpoint | undefined,
  ): R {
    const { routed } = this
    if (routed === undefined) return this.answer(status, statusText, received, body)
    const session =
      routed.route?.session &&
      sessionOfAnswer(routed, endpoint, (name) => this.header(name), this.stack.clock.wallNow())
    const told = session === undefined ? received : withHeader(received, session)
    return this.answer(status, statusText, changedResponse(told, routed.responseChanges), body)
  }

  header(name: string): string | undefined {
    return this.request.header(name)
  }

  /** Its path is that of the caller, before a route rewrites it. */
  override details(decisive: Attempt | undefined): CallDetails {
    const path = pathOf((this.request.original ?? this.request).path)
    const details = super.details(decisive)
    return { ...details, path, status: this.#localStatus ?? details.status }
  }

  protected answerBy(answer: LocalAnswer, routed: Routed): void {
    const { status, statusText, headers, body } = localResponse(answer, routed, this.request, this.kind.service)
    this.#localStatus = status
    this.endLocally(httpOutcome(status, false, undefined))
    this.resolve(this.answer(status, statusText, headers, body))
  }

  protected attempt(
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
    driven: boolean,
  ): HttpAttempt {
    return new HttpAttempt(this, resolve, reject, driven)
  }

  protected override passedOn(error: unknown): unknown {
    return this.#failure === undefined ? error : this.#failure.error
  }
}

/** What routes look at before the call is made. Without overrides in the request: its parent. */
function introducing(
  request: PreparedRequest,
  parent: Call | undefined,
  service: HttpService,
): CallContext | undefined {
  const asked = request.header(ROUTE_OVERRIDES)
  if (asked === undefined) return parent
  return { baggage: parent?.baggage, overrides: service.transport.overrides.introduce(asked) }
}

/** Signals of older implementations have no reason. */
export function reasonOf(signal: AbortSignal): unknown {
  return signal.reason ?? new DOMException('This operation was aborted', 'AbortError')
}
