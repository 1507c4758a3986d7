/**
 * The one AsyncLocalStorage of the library. It holds the inbound call that is being served, entered once per request; calls
 * made inside inherit deadline, trace, baggage and cancellation from it without the user passing anything.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import type { Call } from './call.ts'

const storage = new AsyncLocalStorage<Call>()

/** The call being served, or `undefined` outside one. */
export function inboundCall(): Call | undefined {
  return storage.getStore()
}

/** Runs `work` as part of serving `call`. */
export function serving<T>(call: Call, work: () => T): T {
  return storage.run(call, work)
}

/**
 * The rest of this turn of the event loop is part of serving `call`, and `work` is run: for doors that are told of a request by the
 * socket and of nothing else after it. Where Node forgets at the end of the turn anyway, restoring costs as much as entering.
 */
export function servingFromHere<T>(call: Call, work: () => T): T {
  if (!forgets()) return storage.run(call, work)
  storage.enterWith(call)
  return work()
}

let knownToForget: boolean | undefined

/** Whether what was entered is kept with the turn (Node 24) or with the resource that it ran in, where the next request would find it. */
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

/** Runs `work` as part of no call: what it begins belongs to several, and ends with none of them. */
export function detached<T>(work: () => T): T {
  return storage.run(undefined as unknown as Call, work)
}
