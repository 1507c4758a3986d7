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
