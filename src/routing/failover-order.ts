/** Levels of failover that can take no endpoint, because earlier ones take them all. */
import type { FailoverLevel } from './settings.ts'

/** The index of the earlier level that takes all endpoints of `levels[at]`. */
export function takenBefore(levels: readonly FailoverLevel[], at: number): number | undefined {
  const before = levels.slice(0, at).findIndex((earlier) => takesAllOf(earlier, levels[at]!))
  return before < 0 ? undefined : before
}

/** Sound: where it cannot tell, it says no. */
function takesAllOf(earlier: FailoverLevel, level: FailoverLevel): boolean {
  if (level.kind === 'service') {
    // Levels by zone divide the target, which need not be this service.
    if (earlier.kind !== 'service' || earlier.service !== level.service) return false
    return earlier.subset === undefined || earlier.subset === level.subset
  }
  switch (earlier.kind) {
    case 'service':
      return false
    case 'metadata':
      return (
        level.kind === 'metadata' &&
        earlier.entries.every(([key, value]) => level.entries.some((entry) => entry[0] === key && entry[1] === value))
      )
    default:
      return earlier.where === 'any' || (level.kind === earlier.kind && level.where === 'same')
  }
}
