/**
 * The one AsyncLocalStorage of the library. It holds the inbound call that is being served, entered once per request; calls
 * made inside inherit deadline, trace, baggage and cancellation from it without the user passing anything.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
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

/** Runs `work` as part of no call: what it begins belongs to several, and ends with none of them. */
export function detached<T>(work: () => T): T {
  return storage.run(undefined as unknown as Call, work)
}
