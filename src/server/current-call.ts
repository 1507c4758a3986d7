/** What a handler may know of the request that it serves, without being passed anything. */
import { inboundCall } from '../core/context.ts'
import type { TraceContext } from '../core/trace-context.ts'
import { type CallerIdentity, InboundCall } from './inbound-call.ts'

/**
 * The request being served. Calls made while serving it inherit deadline, trace, baggage and
 * cancellation by themselves; this is for handlers that want to look.
 */
export class CurrentCall {
  readonly #call: InboundCall

  constructor(call: InboundCall) {
    this.#call = call
  }

  /**
   * Who calls, proven by its certificate; `undefined` for a caller without one (not possible on a
   * `strict` server).
   */
  get peer(): CallerIdentity | undefined {
    return this.#call.caller
  }

  /** Our own service. */
  get service(): string {
    return this.#call.route.service
  }

  /** `GET`, or `/shop.Inventory/Get`. */
  get method(): string {
    return this.#call.route.method
  }

  /**
   * What is left of the deadline in ms, at least 0; `Infinity` without one, and after the end of
   * the request.
   */
  get remainingMs(): number {
    return Math.max(0, this.#call.bindsUntil - this.#call.clock.now())
  }

  /**
   * Aborted when the deadline has passed, the caller has gone away, or the server's drain has run
   * out of time. Not aborted by an answer. Its listeners run in the async context of the code that
   * read it first.
   */
  get signal(): AbortSignal {
    return this.#call.signal
  }

  /** W3C baggage, as received and as changed by {@link setBaggage}. */
  get baggage(): ReadonlyMap<string, string> {
    return this.#call.baggage ?? NO_BAGGAGE
  }

  /**
   * Adds a member for all calls made from now on while serving this one, and by what it leaves
   * behind.
   */
  setBaggage(name: string, value: string): void {
    this.#call.baggage = new Map(this.#call.baggage).set(name, value)
  }

  /** Our place in the trace; `undefined` if nobody traces. */
  get trace(): TraceContext | undefined {
    return this.#call.trace
  }

  /** How many attempts of this call the caller has made before this one, as it says. */
  get previousAttempts(): number {
    return this.#call.previousAttempts
  }
}

const NO_BAGGAGE: ReadonlyMap<string, string> = new Map()

/**
 * The request that the running code is serving, also within guarded functions; `undefined` outside
 * of one, within `detached`, and within an execution that several callers share. What a request
 * leaves behind (a timer, work after a 202) still gets it after its end; then it binds no call any
 * more.
 *
 * @example
 * ```ts
 * app.get('/report', async (_req, res) => {
 *   const rows = await database.query(sql, { signal: currentCall()?.signal })
 *   res.json(rows)
 * })
 * ```
 */
export function currentCall(): CurrentCall | undefined {
  let call = inboundCall()
  while (call?.parent !== undefined) call = call.parent
  return call instanceof InboundCall ? new CurrentCall(call) : undefined
}
