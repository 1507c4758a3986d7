/**
 * One logical request. A call holds what outlives its attempts: deadline, trace, endpoints tried,
 * and the cancellation chain from the request that caused it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Attempt } from './attempt.ts'
import type { CallDetails } from './call-details.ts'
import type { Endpoint } from './endpoint.ts'
import type { AttemptReport } from './errors.ts'
import type { Outcome } from './outcome.ts'
import type { Protocol } from './protocol.ts'
import type { RouteOverrides } from './route-overrides.ts'
import type { TraceContext } from './trace-context.ts'

/** What all calls of one kind share. Made once and frozen. */
export interface CallKind {
  readonly service: string
  /** Low cardinality, such as `GET`, `/shop.Orders/Get` or `Prices.quote`. */
  readonly method: string
  readonly protocol: Protocol
  /**
   * The response may be long. It counts as load while it is open, but its duration is not a
   * latency.
   */
  readonly streaming: boolean
  /** A second execution does no harm. */
  readonly idempotent: boolean
}

/**
 * The parts of a request that may serve as its hash key. The first that the request has is used.
 */
export interface HashKey {
  /** The name of a header, in lower case. */
  readonly header: string | undefined
  readonly cookie: string | undefined
  /** The path, without its query. */
  readonly path: boolean
}

/** What a route has chosen for a call. */
export interface RoutedCall {
  /** The route's name; empty if the document refuses calls that no route matches. */
  readonly name: string
}

export class Call {
  readonly kind: CallKind
  readonly startedAt: number
  /** Instant on the monotonic clock; `Infinity` for none. */
  deadlineAt: number
  /** The inbound call that caused this one. */
  readonly parent: Call | undefined
  /** Set when the call or its parent is traced. */
  trace: TraceContext | undefined
  /** The other side: the caller's service on a server, the called service on a client. */
  peer: string | undefined
  /** The kind's value, unless the caller overrides it for this call. */
  idempotent: boolean
  /** On a client: what a route has chosen for it; `undefined`: no route. */
  routed: RoutedCall | undefined = undefined
  /** Propagated to all descendants. */
  baggage: ReadonlyMap<string, string> | undefined
  /**
   * With a hashing balancer, calls with the same key go to the same endpoint. `undefined`: any
   * endpoint.
   */
  hashKey: string | undefined = undefined
  /**
   * The caller writes the request while the call runs, and so decides when the answer is due.
   */
  uploads = false
  /**
   * On a server: earlier attempts of this call, as reported by the caller.
   */
  previousAttempts = 0
  /**
   * A copy made by a route's `mirror`, or caused by one. Its answer is thrown away, and no route
   * mirrors it again.
   */
  mirror: boolean
  /** Where calls of this request go instead; propagated to all descendants. */
  overrides: RouteOverrides | undefined

  /** Attempts started so far. */
  attempts = 0
  /**
   * @internal Attempts that were certainly not executed. They do not count against the limit.
   */
  refusals = 0
  /** @internal Attempts in flight: two while one is hedged. */
  running = 0
  /** @internal A call is hedged at most once. */
  hedged = false
  /** @internal Part of an answer has reached the caller, so no attempts follow. */
  committed = false
  /**
   * @internal The last endpoint tried; once the call is over, the one that ended it. `tried`: the
   * earlier ones, only after a failure.
   */
  endpoint: Endpoint | undefined = undefined
  /** @internal */
  tried: Endpoint[] | undefined = undefined
  /** @internal Only after a failure. */
  reports: AttemptReport[] | undefined = undefined
  /** @internal The last backoff in ms. */
  waitedMs = 0
  /** @internal The budget refused another attempt. */
  unpaid = false
  /** @internal A peer may have acted on an attempt. */
  sent = false
  /** @internal Set once, by the execution. */
  settled = false
  /** How long it waits for an endpoint, if that is less than all calls do. */
  longestWaitMs = Number.POSITIVE_INFINITY
  /** The cause of the cancellation; `undefined` if the call is not cancelled. */
  cancelledBy: unknown = undefined

  /**
   * @internal Cancels what runs for this call now: attempts, a backoff or a wait.
   */
  whenCancelled: ((cause: unknown) => void) | undefined = undefined
  /**
   * @internal Telemetry's state, such as a span and a metric series. No other code reads it.
   */
  observed: unknown = undefined
  /** @internal */
  metered: unknown = undefined
  /** @internal The attempt that the service policies admitted and will settle. */
  first: Attempt | undefined = undefined
  /** HTTP or gRPC status of its last answer; 0 if there is none. Set by the execution. */
  status = 0
  /** @internal How it ended. */
  outcome: Outcome | undefined = undefined

  /** The last one that is in flight. The others are linked to it, because a set costs more. */
  #child: Call | undefined = undefined
  #elder: Call | undefined = undefined
  #younger: Call | undefined = undefined
  #abort: AbortController | undefined = undefined
  /** Runs the signal's listeners in the async context of its first reader. */
  #asReader: ReturnType<typeof AsyncLocalStorage.snapshot> | undefined = undefined

  constructor(kind: CallKind, startedAt: number, deadlineAt: number, parent: Call | undefined) {
    this.kind = kind
    this.startedAt = startedAt
    this.deadlineAt = deadlineAt
    this.parent = parent
    this.trace = undefined
    this.peer = undefined
    this.idempotent = kind.idempotent
    this.baggage = parent?.baggage
    this.mirror = parent?.mirror === true
    this.overrides = parent?.overrides
  }

  /** On a server: its caller is not of the mesh, as far as the server can know. */
  get outside(): boolean {
    return false
  }

  /** @internal On a server: telemetry's counts of it. `undefined`: it does not count the call. */
  get servedBy(): unknown {
    return undefined
  }

  get cancelled(): boolean {
    return this.cancelledBy !== undefined
  }

  /** @internal The call and its work have ended. It no longer bounds calls that begin now. */
  get over(): boolean {
    return this.settled
  }

  /** @internal The latest end of a child call that begins now. */
  get bindsUntil(): number {
    return this.over ? Number.POSITIVE_INFINITY : this.deadlineAt
  }

  /** For code that takes an AbortSignal. Made on first read. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      this.#asReader = AsyncLocalStorage.snapshot()
      if (this.cancelledBy !== undefined) this.#abort.abort(this.cancelledBy)
    }
    return this.#abort.signal
  }

  /**
   * Gives up: ends what runs for this call and for the calls it caused. Idempotent.
   */
  cancel(cause: unknown): void {
    if (this.settled || this.cancelledBy !== undefined) return
    this.cancelledBy = cause ?? 'cancelled'
    this.whenCancelled?.(cause)
    if (this.#child !== undefined) for (const child of this.#children()) child.cancel(cause)
    const abort = this.#abort
    if (abort !== undefined) this.#asReader!(() => abort.abort(cause))
  }

  /**
   * The part of the request that `source` names. Overridden where requests have such parts.
   */
  keyOf(_source: HashKey): string | undefined {
    return undefined
  }

  /** A header of its request, or its gRPC metadata. Overridden where requests have them. */
  header(_name: string): string | undefined {
    return undefined
  }

  /**
   * @internal For logs, when the call has ended. `decisive`: the attempt that ended it. Overridden
   * where calls are requests or connections.
   */
  details(decisive: Attempt | undefined): CallDetails {
    return {
      path: undefined,
      status: decisive?.status || undefined,
      transport: decisive?.transport,
      bytesSent: decisive?.bytesSent,
      bytesReceived: decisive?.bytesReceived,
      peerAddress: undefined,
    }
  }

  /** `child` has no parent yet. */
  adopt(child: Call): void {
    const elder = this.#child
    child.#elder = elder
    if (elder !== undefined) elder.#younger = child
    this.#child = child
  }

  /** Does nothing if it was not adopted. */
  release(child: Call): void {
    const elder = child.#elder
    const younger = child.#younger
    if (younger !== undefined) younger.#elder = elder
    else if (this.#child === child) this.#child = elder
    if (elder !== undefined) elder.#younger = younger
    child.#elder = child.#younger = undefined
  }

  /** Those in flight, oldest first. */
  #children(): Call[] {
    const all: Call[] = []
    for (let child = this.#child; child !== undefined; child = child.#elder) all.push(child)
    return all.reverse()
  }
}
