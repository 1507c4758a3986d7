/** The request that the running code serves, found through its async context. */
import { type InspectOptions, inspect } from 'node:util'
import { inboundCall } from '../core/context.ts'
import type { TraceContext } from '../core/trace-context.ts'
import type { TransportName } from '../core/transport.ts'
import { type CallerIdentity, InboundCall } from './inbound-call.ts'

/** The {@link CurrentCall} of a log line. */
export interface CurrentCallJson {
  readonly service: string
  readonly method: string
  /** The caller's service, or its SPIFFE id; `undefined` for a caller without a certificate. */
  readonly peer: string | undefined
  readonly transport: TransportName | undefined
  /** `undefined` without a deadline. */
  readonly remainingMs: number | undefined
  readonly traceId: string | undefined
  readonly previousAttempts: number
  readonly mirror: boolean
}

/**
 * The request being served. Calls made while serving it inherit its deadline, trace, baggage and
 * cancellation without this object.
 */
export class CurrentCall {
  readonly #call: InboundCall

  constructor(call: InboundCall) {
    this.#call = call
  }

  /**
   * The verified caller; `undefined` for a caller without a certificate, which a `strict` server
   * refuses.
   */
  get peer(): CallerIdentity | undefined {
    return this.#call.caller
  }

  /**
   * What carries this request: `'inmesh/1'`, `'http/1.1'` or `'h2'`.
   */
  get transport(): TransportName | undefined {
    return this.#call.transport
  }

  /** Our own service. */
  get service(): string {
    return this.#call.kind.service
  }

  /** `GET`, or `/shop.Inventory/Get`. */
  get method(): string {
    return this.#call.kind.method
  }

  /**
   * Time left until the deadline in ms, at least 0. `Infinity` without a deadline and after the end
   * of the request.
   */
  get remainingMs(): number {
    return Math.max(0, this.#call.bindsUntil - this.#call.clock.now())
  }

  /**
   * Aborts when the deadline has passed, the caller has left, or the server's drain has run out of
   * time. An answer does not abort it. Listeners run in the async context of its first reader.
   */
  get signal(): AbortSignal {
    return this.#call.signal
  }

  /** W3C baggage, as received and as changed by {@link setBaggage}. */
  get baggage(): ReadonlyMap<string, string> {
    return this.#call.baggage ?? NO_BAGGAGE
  }

  /**
   * Adds a member for all later calls made while serving this request, and by work that it leaves
   * behind.
   */
  setBaggage(name: string, value: string): void {
    this.#call.baggage = new Map(this.#call.baggage).set(name, value)
  }

  /** The trace context of this request; `undefined` if it is not traced. */
  get trace(): TraceContext | undefined {
    return this.#call.trace
  }

  /** Earlier attempts of the same call, as its caller reports them. */
  get previousAttempts(): number {
    return this.#call.previousAttempts
  }

  /** What a logger prints: no baggage, and of the caller its service alone. */
  toJSON(): CurrentCallJson {
    const { service, method, peer, transport, remainingMs, trace, previousAttempts, mirror } = this
    return {
      service,
      method,
      peer: peer?.service ?? peer?.spiffeId,
      transport,
      remainingMs: Number.isFinite(remainingMs) ? Math.round(remainingMs) : undefined,
      traceId: trace?.traceId,
      previousAttempts,
      mirror,
    }
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `CurrentCall ${inspect(this.toJSON(), options)}`
  }

  /**
   * This request copies another one, by a route's `mirror`, or was caused by such a copy: its
   * answer is thrown away. As its caller states it in `x-inmesh-mirror`.
   */
  get mirror(): boolean {
    return this.#call.mirror
  }

  /**
   * Where calls of this request go instead of where their routes send them: the value of
   * `x-inmesh-route`. `undefined`: there are no overrides.
   */
  get routeOverrides(): string | undefined {
    return this.#call.overrides?.text
  }
}

const NO_BAGGAGE: ReadonlyMap<string, string> = new Map()

/**
 * The request that the running code serves, also within guarded functions. `undefined` outside of a
 * request, within `detached`, and within an execution that several callers share. Work that a
 * request leaves behind (a timer, work after a 202) still sees it, but it then binds no call.
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
