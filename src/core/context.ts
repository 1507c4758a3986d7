/**
 * The library's one AsyncLocalStorage holds the inbound call being served. Calls made inside
 * inherit its deadline, trace, baggage and cancellation.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import { Call } from './call.ts'

const storage = new AsyncLocalStorage<Call>()

/**
 * The innermost call of the running code that has not ended. If all have ended, the outermost: it
 * passes on trace and baggage, and binds nothing. `undefined` outside calls.
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
 * Enters `call` for the rest of this turn of the event loop and runs `work`. For servers whose turn
 * begins with one request of a socket: Node drops the store at its end, and restoring it would cost
 * as much as entering.
 */
export function servingFromHere<C extends Call, T>(call: C, work: (call: C) => T): T {
  if (!forgets()) return storage.run(call, work, call)
  storage.enterWith(call)
  return work(call)
}

let knownToForget: boolean | undefined

/**
 * Whether Node keeps an entered store with the turn (Node 24), or with the resource it ran in,
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
 * Begins each of several requests of one turn as if the turn began with it: what one of them enters
 * into an AsyncLocalStorage, the next does not find. It keeps the stores of its creation.
 */
export class RequestScope {
  #resource = new AsyncResource('inmesh.request')

  run(work: () => void): void {
    if (!forgets()) this.#resource = new AsyncResource('inmesh.request')
    this.#resource.runInAsyncScope(work)
  }
}

/**
 * Runs `work` outside all calls, because what it starts is shared by several and outlives each.
 */
export function outsideCalls<T>(work: () => T): T {
  return storage.run(undefined as unknown as Call, work)
}

/**
 * Runs `work` outside the request being served, for work that outlives it on purpose. Calls made
 * inside have neither the request's deadline nor its cancellation; its trace and baggage travel on.
 * `currentCall()` is `undefined` inside. Other AsyncLocalStorages keep their stores.
 *
 * @returns what `work` returns.
 * @throws TypeError if `work` is not a function; otherwise what `work` throws.
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
  const root = new Call(cause.kind, cause.startedAt, Number.POSITIVE_INFINITY, undefined)
  root.trace = cause.trace
  root.baggage = cause.baggage
  root.mirror = cause.mirror
  root.overrides = cause.overrides
  return storage.run(root, work)
}
