/**
 * The call that filters receive: its first `next` sends it. Each further `next` makes another call,
 * which ends with this one.
 */
import type { Call, CallKind } from '../../core/call.ts'
import { type Answer, HttpCall, type HttpService } from './call.ts'
import type { PreparedRequest } from './prepare-request.ts'
import type { HttpCallOptions } from './request-options.ts'

export class FilteredCall<R> extends HttpCall<R> {
  #begun = false
  /** Calls of further `next`s that still run. */
  #more: readonly HttpCall<R>[] = []
  /** As the caller set them. If they differ when the call is sent, a filter has set them. */
  #idempotent: boolean | undefined = undefined
  #hashKey: string | undefined = undefined

  constructor(
    service: HttpService,
    request: PreparedRequest,
    answer: Answer<R>,
    options: HttpCallOptions | undefined,
    signal: AbortSignal | undefined,
    parent: Call | undefined,
  ) {
    const selection = service.unrouted(request.method, options?.streaming === true)
    super(service, request, answer, options, signal, parent, undefined, selection)
  }

  /** Prepares it for the first filter. */
  handOver(): this {
    this.#idempotent = this.idempotent
    this.#hashKey = this.hashKey
    return this
  }

  /** `made`: the call of the request that reached the last `next`. */
  sendAs(made: HttpCall<R>): Promise<R> {
    made.deadlineAt = Math.min(made.deadlineAt, this.deadlineAt)
    if (this.#begun) {
      made.baggage = this.baggage
      if (this.cancelled) made.cancel(this.cancelledBy)
      this.#more = [...this.#more.filter((each) => !each.settled), made]
      return made.send()
    }
    this.#begun = true
    this.takeOver(made)
    this.deadlineAt = made.deadlineAt
    if (this.idempotent === this.#idempotent) this.idempotent = made.idempotent
    if (this.hashKey === this.#hashKey) this.hashKey = made.hashKey
    if (made.committed) this.once()
    const begins = this as { kind: CallKind; startedAt: number }
    begins.kind = made.kind
    // Time spent in filters before `next` does not count.
    begins.startedAt = made.startedAt
    return this.send()
  }

  override cancel(cause: unknown): void {
    for (const each of this.#more) each.cancel(cause)
    super.cancel(cause)
  }
}
