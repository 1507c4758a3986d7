/**
 * The call that filters receive: its first `next` sends it. Each further `next` makes another call,
 * which ends with this one.
 */
import type { Route } from '../../core/call.ts'
import { HttpCall } from './call.ts'

export class FilteredCall<R> extends HttpCall<R> {
  #begun = false
  /** Those of further `next`s that still run. */
  #more: readonly HttpCall<R>[] = []
  /** As the caller asked for them: what differs when the call is sent, a filter has set. */
  #idempotent: boolean | undefined = undefined
  #hashKey: string | undefined = undefined

  /** It goes to the first filter. */
  handOver(): this {
    this.#idempotent = this.idempotent
    this.#hashKey = this.hashKey
    return this
  }

  /** `made`: from the request that reached the last `next`. */
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
    const begins = this as { route: Route; startedAt: number }
    begins.route = made.route
    // What filters do before is no part of it.
    begins.startedAt = made.startedAt
    return this.send()
  }

  override cancel(cause: unknown): void {
    for (const each of this.#more) each.cancel(cause)
    super.cancel(cause)
  }
}
