/**
 * The one AsyncLocalStorage of the library. It holds the inbound call that is being served, entered
 * once per request; calls made inside inherit deadline, trace, baggage and cancellation from it
 * without the user passing anything.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import { Call } from './call.ts'

const storage = new AsyncLocalStorage<Call>()

/**
 * The call that the running code is a part of: the innermost that still runs. If all have ended,
 * the outermost, which passes its trace and baggage on and binds nothing. `undefined` outside of
 * calls.
 */
export function inboundCall(): Call | undefined {
  let call = storage.getStore()
  while (call?.over && call.parent !== undefined) call = call.parent
  return call
}

/** Runs `work` as part of serving `call`. */
export function serving<T>(call: Call, work: () => T): T {
  return storage.run(call, work)
}

/**
 * Runs `work`, and makes the rest of this turn of the event loop part of serving `call`. For
 * servers whose turn handles one request and nothing after it. Node resets the context at the end
 * of the turn anyway, and restoring it here would cost as much as entering.
 */
export function servingFromHere<C extends Call, T>(call: C, work: (call: C) => T): T {
  if (!forgets()) return storage.run(call, work, call)
  storage.enterWith(call)
  return work(call)
}

let knownToForget: boolean | undefined

/**
 * Whether what was entered is kept with the turn (Node 24) or with the resource that it ran in,
 * where the next request would find it.
 */
function forgets(): boolean {
  if (knownToForget === undefined) {
    const resource = new AsyncResource('inmesh.probe')
    const probe = new AsyncLocalStorage<boolean>()
    resource.runInAsyncScope(() => probe.enterWith(true))
    knownToForget = resource.runInAsyncScope(() => probe.getStore()) === undefined
    resource.emitDestroy()
  }
  return knownToForget
}

/**
 * Runs `work` as part of no call: what it begins belongs to several, and ends with none of them.
 */
export function outsideCalls<T>(work: () => T): T {
  return storage.run(undefined as unknown as Call, work)
}

/**
 * Runs `work` outside of the request being served, for what outlives it on purpose. Calls made
 * inside have neither the request's deadline nor its cancellation; its trace and baggage travel on.
 * `currentCall()` is `undefined` inside. Other AsyncLocalStorages keep their stores.
 *
 * @returns what `work` returns.
 * @throws TypeError if `work` is no function; otherwise what `work` throws.
 * @example
 * ```ts
 * app.post('/orders', async (req, res) => {
 *   const order = await save(req.body)
 *   res.status(202).json(order)
 *   detached(() => notify(order)).catch(log.error)   // goes on if the caller hangs up
 * })
 * ```
 */
export function detached<T>(work: () => T): T {
  if (typeof work !== 'function') throw new TypeError('detached: expected a function')
  const cause = storage.getStore()
  if (cause === undefined) return work()
  const root = new Call(cause.route, cause.startedAt, Number.POSITIVE_INFINITY, undefined)
  root.trace = cause.trace
  root.baggage = cause.baggage
  return storage.run(root, work)
}
