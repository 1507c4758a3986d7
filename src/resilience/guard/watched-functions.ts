/**
 * Lets the meshes of a process watch its guarded functions, which know no mesh. Without a watcher a
 * call pays one comparison for each notification.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Telemetry } from '../../core/telemetry.ts'
import type { CircuitState } from '../circuit-breaker.ts'
import type { OpossumCircuit } from '../opossum-circuit.ts'

/** Watches the calls that start after it was added. Must not throw. */
export interface FunctionWatcher {
  started(call: Call): void
  /** `waitMs` >= 0: another attempt follows after it. */
  attemptEnded(call: Call, outcome: Outcome, waitMs: number): void
  ended(call: Call, outcome: Outcome, durationMs: number): void
}

/** What a guarded function holds between calls. */
export interface WatchedFunction {
  readonly name: string
  readonly breaker: { readonly state: CircuitState; readonly circuit: OpossumCircuit } | undefined
  readonly bulkhead: { readonly inFlight: number; readonly limit: number } | undefined
  readonly queue: { readonly size: number; readonly room: number } | undefined
}

interface Watching {
  readonly watcher: FunctionWatcher
  readonly since: number
}

let watching: readonly Watching[] = []
/** Counts the watchers ever added; a call keeps the number at its start. */
let added = 0

/** Returns how to stop. */
export function watchFunctions(watcher: FunctionWatcher): () => void {
  added += 1
  const entry: Watching = { watcher, since: added }
  watching = [...watching, entry]
  return () => {
    watching = watching.filter((one) => one !== entry)
  }
}

/** The telemetry of one guard. */
export class WatchedCalls implements Telemetry {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  callStarted(call: Call): void {
    if (watching.length === 0) return
    call.metered = added
    for (const { watcher } of watching) watcher.started(call)
  }

  attemptStarted(): void {}

  attemptEnded({ call }: Attempt, outcome: Outcome, waitMs: number): void {
    if (call.metered === undefined) return
    for (const { watcher, since } of watching) {
      if (since <= (call.metered as number)) watcher.attemptEnded(call, outcome, waitMs)
    }
  }

  callEnded(call: Call, outcome: Outcome): void {
    if (call.metered === undefined) return
    const durationMs = (call.first?.endedAt || this.#clock.now()) - call.startedAt
    for (const { watcher, since } of watching) {
      if (since <= (call.metered as number)) watcher.ended(call, outcome, durationMs)
    }
  }
}

// Weak: functions that are guarded again and again must not pile up.
const listed = new Set<WeakRef<WatchedFunction>>()
const gone = new FinalizationRegistry<WeakRef<WatchedFunction>>((reference) => listed.delete(reference))

/** Lists a function for as long as it is referenced. */
export function listFunction(one: WatchedFunction): void {
  const reference = new WeakRef(one)
  listed.add(reference)
  gone.register(one, reference)
}

/** The functions of this process that have a breaker or a bulkhead. */
export function* listedFunctions(): IterableIterator<WatchedFunction> {
  for (const reference of listed) {
    const one = reference.deref()
    if (one !== undefined) yield one
  }
}
