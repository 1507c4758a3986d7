/**
 * A call is one logical request. It holds what must outlive its attempts: deadline, trace, what has
 * been tried, and the chain of cancellation from the request that caused it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Attempt } from './attempt.ts'
import type { Endpoint } from './endpoint.ts'
import type { AttemptReport } from './errors.ts'
import type { Outcome } from './outcome.ts'
import type { Protocol } from './protocol.ts'
import type { TraceContext } from './trace-context.ts'

/** What never changes between calls of one kind. Made once, frozen. */
export interface Route {
  readonly service: string
  /** Low cardinality: `GET`, or `/shop.Orders/Get`, or `Prices.quote`. */
  readonly method: string
  readonly protocol: Protocol
  /** The response may be long: load counts while it is open, but its duration is no latency. */
  readonly streaming: boolean
  /** Whether a second execution does no harm. */
  readonly idempotent: boolean
}

/** Which part of a request is its key, for balancers that hash: the first that the request has. */
export interface HashKey {
  /** The name of a header, in lower case. */
  readonly header: string | undefined
  readonly cookie: string | undefined
  /** The path, without its query. */
  readonly path: boolean
}

export class Call {
  readonly route: Route
  readonly startedAt: number
  /** Instant on the monotonic clock; `Infinity` = none. */
  deadlineAt: number
  /** The inbound call that caused this one. */
  readonly parent: Call | undefined
  /** Set when the call or its parent is traced. */
  trace: TraceContext | undefined
  /** Who is on the other side: the caller's service on a server, the called service on a client. */
  peer: string | undefined
  /** From the route, unless the caller said otherwise for this call. */
  idempotent: boolean
  /** Carried to all descendants. */
  baggage: ReadonlyMap<string, string> | undefined
  /**
   * Calls with the same key go to the same endpoint, if the balancer hashes; `undefined`: to any.
   */
  hashKey: string | undefined = undefined
  /**
   * The caller writes the request while the call runs, so when its answer is due is up to the
   * caller.
   */
  uploads = false
  /**
   * Of a call that is being served: how many attempts of it came before this one, as the caller
   * says.
   */
  previousAttempts = 0

  /** Attempts started so far. */
  attempts = 0
  /**
   * @internal Of those, the ones that certainly were not executed; they do not count against the
   * limit.
   */
  refusals = 0
  /** @internal Attempts that run now: two, while one is hedged. */
  running = 0
  /** @internal A call is hedged at most once. */
  hedged = false
  /** @internal Something reached the caller: no more attempts. */
  committed = false
  /** @internal The last endpoint tried, and the earlier ones (only after a failure). */
  endpoint: Endpoint | undefined = undefined
  /** @internal */
  tried: Endpoint[] | undefined = undefined
  /** @internal Only after a failure. */
  reports: AttemptReport[] | undefined = undefined
  /** @internal The last backoff in ms. */
  waitedMs = 0
  /** @internal Another attempt was worth it, and the budget did not pay for it. */
  unpaid = false
  /** @internal Whether any attempt may have been acted on. */
  sent = false
  /** @internal Set once, by the execution. */
  settled = false
  /** Why the call was cancelled; `undefined` while it was not. */
  cancelledBy: unknown = undefined

  /**
   * @internal What is running for this call right now: attempts, a backoff, a wait. Told when the
   * call is cancelled.
   */
  whenCancelled: ((cause: unknown) => void) | undefined = undefined
  /**
   * @internal Observers' own (a span; the series it is counted in); set by the telemetry, read by
   * it only.
   */
  observed: unknown = undefined
  /** @internal */
  metered: unknown = undefined
  /** @internal The attempt a service policy admitted, for its settling. */
  first: Attempt | undefined = undefined
  /** @internal How it ended. */
  outcome: Outcome | undefined = undefined

  #children: Set<Call> | undefined = undefined
  #abort: AbortController | undefined = undefined
  /** Runs the listeners of the signal in the context of the code that asked for it first. */
  #asReader: ReturnType<typeof AsyncLocalStorage.snapshot> | undefined = undefined

  constructor(route: Route, startedAt: number, deadlineAt: number, parent: Call | undefined) {
    this.route = route
    this.startedAt = startedAt
    this.deadlineAt = deadlineAt
    this.parent = parent
    this.trace = undefined
    this.peer = undefined
    this.idempotent = route.idempotent
    this.baggage = parent?.baggage
  }

  get cancelled(): boolean {
    return this.cancelledBy !== undefined
  }

  /** @internal It has ended, and so has its work: what begins from here on is not bound by it. */
  get over(): boolean {
    return this.settled
  }

  /** @internal The latest end of a call that begins now as a part of it. */
  get bindsUntil(): number {
    return this.over ? Number.POSITIVE_INFINITY : this.deadlineAt
  }

  /** For code that speaks AbortSignal; made only if somebody reads it. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      this.#asReader = AsyncLocalStorage.snapshot()
      if (this.cancelledBy !== undefined) this.#abort.abort(this.cancelledBy)
    }
    return this.#abort.signal
  }

  /**
   * Our side gives up: ends what runs, here and in all calls this one caused. Safe to call more
   * than once.
   */
  cancel(cause: unknown): void {
    if (this.settled || this.cancelledBy !== undefined) return
    this.cancelledBy = cause ?? 'cancelled'
    this.whenCancelled?.(cause)
    if (this.#children !== undefined) for (const child of [...this.#children]) child.cancel(cause)
    const abort = this.#abort
    if (abort !== undefined) this.#asReader!(() => abort.abort(cause))
  }

  /**
   * The part of the request that `source` names; doors whose requests have such parts say which.
   */
  keyOf(_source: HashKey): string | undefined {
    return undefined
  }

  adopt(child: Call): void {
    this.#children ??= new Set()
    this.#children.add(child)
  }

  release(child: Call): void {
    this.#children?.delete(child)
  }
}
