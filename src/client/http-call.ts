/**
 * One HTTP call: starts its attempts, waits for a first endpoint, listens to the caller's signal, and settles the one promise
 * that was made in the caller's own async context (undici's callbacks run in that of whichever request opened the socket).
 */
import { Call, type HashKey, type Route } from '../core/call.ts'
import type { Timer } from '../core/clock.ts'
import type { MeshError } from '../core/errors.ts'
import { outcome as makeOutcome, type Outcome } from '../core/outcome.ts'
import { endCall, hedgeDelay, startCall, startHedge } from '../resilience/execution.ts'
import { repeat } from '../resilience/repeat.ts'
import type { Stack } from '../resilience/stack.ts'
import { callError } from './call-error.ts'
import { hashKeyOf } from './hash-key.ts'
import { HttpAttempt } from './http-attempt.ts'
import { type RequestBody, StreamedBody } from './http-request-body.ts'
import type { HttpTransport } from './http-transport.ts'
import type { ResponseBody } from './response-body.ts'

/** Checked and ready to be written. */
export interface PreparedRequest {
  readonly method: string
  readonly path: string
  /** `[name, value, ...]`, names in lower case. */
  readonly headers: string[]
  readonly body: RequestBody | undefined
}

/** Response headers as undici reads them: names in lower case. */
export type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>

/** Makes what the caller gets from what arrived. */
export type Answer<R> = (status: number, statusText: string, headers: ReceivedHeaders, body: ResponseBody) => R

export class HttpCall<R = unknown> extends Call {
  readonly stack: Stack
  readonly transport: HttpTransport
  /** Set anew by filters, before it is sent. */
  request: PreparedRequest
  readonly answer: Answer<R>
  /** Set by whoever made the call: a call cancelled by the signal rejects with the signal's own reason, as `fetch` does. */
  throwsReason = false
  /** Settled, but the caller is still reading the long body of a failure: who ends it if the signal fires now. */
  leftover: (() => void) | undefined = undefined
  /** The attempt that runs, and the hedge beside it, if it is late. */
  #late: HttpAttempt | undefined = undefined
  #hedge: HttpAttempt | undefined = undefined
  #hedgeTimer: Timer | undefined = undefined
  readonly #signal: AbortSignal | undefined
  #resolve!: (answer: unknown) => void
  #reject!: (error: unknown) => void
  /** What the caller is told; kept, because p-retry passes only errors on and a signal's reason may be anything. */
  #failure: { readonly error: unknown } | undefined = undefined

  constructor(
    stack: Stack,
    transport: HttpTransport,
    route: Route,
    request: PreparedRequest,
    answer: Answer<R>,
    timeoutMs: number,
    parent: Call | undefined,
    signal: AbortSignal | undefined,
  ) {
    const now = stack.clock.now()
    const own = now + Math.min(timeoutMs, stack.timeoutMs)
    super(route, now, parent === undefined ? own : Math.min(own, parent.deadlineAt), parent)
    this.stack = stack
    this.transport = transport
    this.request = request
    this.answer = answer
    this.#signal = signal
  }

  /** No further attempts, whatever happens to the first. */
  once(): void {
    this.idempotent = false
    this.committed = true
  }

  override keyOf(source: HashKey): string | undefined {
    return hashKeyOf(source, this.request)
  }

  /** Sends it; may be called once. */
  send(): Promise<R> {
    const signal = this.#signal
    const content = this.request.body?.content
    if (content instanceof StreamedBody) {
      // What was read from a stream cannot be sent again.
      this.idempotent = false
      content.onTouched = () => {
        this.committed = true
      }
      content.onFailed = (error) => this.cancel(error)
    }
    startCall(this.stack, this)
    if (this.trace === undefined && this.parent !== undefined) this.trace = this.parent.trace
    return new Promise<R>((resolve, reject) => {
      this.#resolve = resolve as (answer: unknown) => void
      this.#reject = reject
      if (signal !== undefined) {
        if (signal.aborted) this.cancel(signal.reason)
        else signal.addEventListener('abort', this)
      }
      new HttpAttempt(this, this.#resolve, reject, false).start()
    })
  }

  /** `attempt` runs. If it has not ended in time, another may begin beside it. */
  attemptRuns(attempt: HttpAttempt): void {
    this.onCancel = giveUp
    if (attempt.hedge) return
    this.#late = attempt
    const ms = hedgeDelay(this.stack, attempt)
    if (ms < this.deadlineAt - attempt.startedAt) this.#hedgeTimer = this.stack.clock.startTimer(ms, hedge, this)
  }

  /** `attempt` has been decided for, or has ended. The one beside it is returned. */
  attemptOver(attempt: HttpAttempt): HttpAttempt | undefined {
    if (this.#hedgeTimer !== undefined) this.stack.clock.stopTimer(this.#hedgeTimer)
    this.#hedgeTimer = undefined
    if (this.#hedge === undefined) return undefined
    return attempt === this.#hedge ? this.#late : this.#hedge
  }

  /** @internal */
  hedgeNow(): void {
    this.#hedgeTimer = undefined
    const beside = this.#late!.second()
    if (!startHedge(this.stack, beside)) return
    this.#hedge = beside
    beside.launch()
  }

  /** @internal */
  giveUpRunning(cause: unknown): void {
    const late = this.#late
    this.#hedge?.giveUp(cause)
    late?.giveUp(cause)
  }

  /** The caller's signal fired. */
  handleEvent(): void {
    if (this.settled) this.leftover?.()
    else this.cancel(this.#signal?.reason)
  }

  /** The first attempt failed and another was granted: from here on p-retry drives. */
  again(waitMs: number): void {
    repeat(
      this.stack,
      this,
      waitMs,
      () => new Promise<unknown>((resolve, reject) => new HttpAttempt(this, resolve, reject, true).start()),
    ).then(this.#resolve, (error) => this.#reject(this.#failure === undefined ? error : this.#failure.error))
  }

  /** It ended without an attempt ending. */
  endWith(verdict: Outcome['verdict'], code: NonNullable<Outcome['code']>, cause: unknown): unknown {
    const outcome = makeOutcome(verdict, code, cause)
    endCall(this.stack, this, outcome)
    this.finish()
    return this.failure(outcome)
  }

  /** Nothing more will happen: lets go of what the caller gave. */
  finish(): void {
    this.leftover = undefined
    this.#signal?.removeEventListener('abort', this)
    const content = this.request.body?.content
    if (content instanceof StreamedBody) content.stop()
  }

  /** What the caller is told about `outcome`. */
  failure(outcome: Outcome): unknown {
    const error: unknown | MeshError =
      this.throwsReason && outcome.code === 'cancelled' && this.#signal?.aborted === true
        ? this.#signal.reason
        : callError(this, outcome, this.stack.clock.now())
    this.#failure = { error }
    return error
  }
}

function hedge(call: HttpCall): void {
  call.hedgeNow()
}

/** One function for all calls, called as their method. */
function giveUp(this: HttpCall, cause: unknown): void {
  this.giveUpRunning(cause)
}
