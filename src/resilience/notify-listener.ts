/**
 * Calls a listener of the user. Its failure is reported once and never fails the call it hears of.
 */
import type { EventEmitter } from 'node:events'

type Listener = (...args: unknown[]) => unknown

/**
 * By emitter and event; reported once each, because a listener that always throws would flood logs.
 */
const reported = new WeakMap<EventEmitter, Set<string | symbol>>()

/**
 * Whatever `listener` throws, or its promise rejects with, is a warning of the process
 * (`InmeshWarning`), once per event.
 */
export function notifyListener(
  emitter: EventEmitter,
  event: string | symbol,
  listener: unknown,
  args: readonly unknown[],
): void {
  try {
    const returned = Reflect.apply(listener as Listener, emitter, args)
    if (returned instanceof Promise) returned.catch((error: unknown) => report(emitter, event, error))
  } catch (error) {
    report(emitter, event, error)
  }
}

function report(emitter: EventEmitter, event: string | symbol, error: unknown): void {
  let events = reported.get(emitter)
  if (events === undefined) {
    events = new Set()
    reported.set(emitter, events)
  }
  if (events.has(event)) return
  events.add(event)
  const { name } = emitter as { name?: unknown }
  process.emitWarning(`A listener of '${String(event)}' of the circuit '${String(name)}' failed: ${textOf(error)}`, {
    type: 'InmeshWarning',
    code: 'INMESH_LISTENER_FAILED',
  })
}

function textOf(error: unknown): string {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } catch {
    return 'it threw what cannot be shown'
  }
}
