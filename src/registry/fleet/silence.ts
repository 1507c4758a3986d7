/**
 * How many instances have stopped renewing at each registry: each publishes its count, and adds up
 * those of the others.
 */
import type { SilentRecord } from './fleet-records.ts'

/** Of one service, at all registries but `self`. */
export function silentElsewhere(published: ReadonlyMap<string, SilentRecord>, self: string, service: string): number {
  let silent = 0
  for (const [id, counts] of published) if (id !== self) silent += counts[service] ?? 0
  return silent
}

/** What to publish; `undefined`: nothing. */
export function silentRecord(silent: ReadonlyMap<string, number>): SilentRecord | undefined {
  return silent.size === 0 ? undefined : Object.fromEntries([...silent].sort(([a], [b]) => (a < b ? -1 : 1)))
}
