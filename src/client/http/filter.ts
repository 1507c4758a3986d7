/**
 * Filters: promise-shaped wrappers with which users extend the HTTP client. They are composed when
 * the client is made, so a client without filters pays nothing.
 */
import type { Call } from '../../core/call.ts'

/** What a filter wraps: everything further in, down to the network. */
export type Next<Request, Response> = (request: Request, call: Call) => Promise<Response>

/**
 * Sees a request on its way out and its response on the way back; may change, replace or refuse
 * either. It stands outside of deadline, retry and balancing: it runs once a call, not once an
 * attempt.
 *
 * `call` is the call that the first `next` sends: its baggage, deadline, `idempotent` and `hashKey`
 * may be set before, and `attempts`, `endpoint` and `trace` are known after. Calling `next` again
 * makes another call with the same baggage and deadline; `call.cancel(cause)` ends them all. A
 * shared exchange (`collapse`, `cache`) belongs to no caller's `call`.
 *
 * @example
 * ```ts
 * const withToken: HttpFilter = async (request, call, next) =>
 *   next({ ...request, headers: { authorization: await token(call.kind.service) } }, call)
 * ```
 */
export type Filter<Request, Response> = (
  request: Request,
  call: Call,
  next: Next<Request, Response>,
) => Promise<Response>

/** The first filter is the outermost. No filters: `service` itself. */
export function compose<Request, Response>(
  filters: readonly Filter<Request, Response>[],
  service: Next<Request, Response>,
): Next<Request, Response> {
  return filters.reduceRight<Next<Request, Response>>(
    // Async, because a filter may throw at once or return no promise, and the caller expects one.
    (next, filter) => async (request, call) => filter(request, call, next),
    service,
  )
}
