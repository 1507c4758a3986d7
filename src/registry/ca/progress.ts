/**
 * How far the processes of each registry are: each publishes its part in the store, and the sum
 * decides whether everybody trusts a new authority.
 */

/** Names of processes that one registry publishes. */
export const MOST_NAMED = 20

/** What one registry says of itself and its processes; it vanishes with the registry. */
export interface ProgressRecord {
  /** The bundle that this registry has in force. */
  readonly sequence: number
  /** The least bundle that a process of this registry has in force. */
  readonly least: number
  /** Processes with a session, and those that lost it within {@link AWAY_LEASES}. */
  readonly processes: number
  /** Those of them that have not this registry's bundle in force; some by name. */
  readonly behind: number
  readonly names: readonly string[]
  /** False: it began a moment ago, and processes may be on their way back. */
  readonly settled: boolean
  /** The authorities and token keys that it can sign with. */
  readonly holds: readonly string[]
  /** Of the certificates that it issues. */
  readonly lifeMs: number
}

/** For this number of leases a process without a session counts: it may come back. */
export const AWAY_LEASES = 2

type All = Iterable<ProgressRecord>

/** Every process of every registry has the bundle `sequence` in force. */
export function isAcknowledged(all: All, sequence: number): boolean {
  const parts = [...all]
  // Without one, no registry has looked.
  return parts.length > 0 && parts.every((one) => one.settled && one.sequence >= sequence && one.least >= sequence)
}

/** Every registry can sign with `id`. */
export function isHeld(all: All, id: string): boolean {
  return [...all].every(({ holds }) => holds.includes(id))
}

/** The longest life that a registry gives. */
export function longestLife(all: All, ownMs: number): number {
  return Math.max(ownMs, ...[...all].map(({ lifeMs }) => lifeMs))
}
