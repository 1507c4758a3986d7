/**
 * Shares the global rate of one service out to the processes that serve it. Other registries do the
 * same with the same records, so all shares together are the rate.
 */
import type { Demand } from '../../resilience/limits/global-rate-limit.ts'
import { ALL_CALLERS, MOST_LEASED_CALLERS } from '../../resilience/limits/global-rate-limit.ts'
import type { GlobalRateSettings } from '../../resilience/limits/global-rate-settings.ts'
import { type Claim, fairShares } from './fair-share.ts'

/** Of an equal share: what a process without demand has at least, for its first requests. */
const LEAST = 0.02

/** What one process, or all of another registry, ask for. */
export interface Asking {
  /** Processes that it stands for. */
  readonly processes: number
  readonly perSecond: ReadonlyMap<string, number>
}

/** What one process has. */
export interface Grant {
  /** Of all callers together, or of each caller that is not in `callers`. */
  readonly share: number
  readonly callers: Demand | undefined
}

/** What the processes of one registry share, of one key. */
interface Budget {
  /** Of a process that has an equal share. */
  readonly equal: number
  of(key: string): number
}

/** All of `capacity`: there are no processes elsewhere. */
export function wholeBudget(capacity: number, processes: number): Budget {
  return { equal: capacity / Math.max(1, processes), of: () => capacity }
}

/**
 * A part of `capacity`, as all registries reckon it: `together` is what the others know of our
 * processes, so that all parts are the capacity. `besides`: for those of which they do not know.
 */
export function partOfBudget(
  { ratePerSecond }: GlobalRateSettings,
  capacity: number,
  together: Asking | undefined,
  elsewhere: readonly Asking[],
  besides: number,
): Budget {
  const all = together === undefined ? elsewhere : [together, ...elsewhere]
  const equal = capacity / Math.max(1, processesOf(all))
  const claims = (key: string): Claim[] => all.map((asking) => claimOf(asking, key, ratePerSecond, equal))
  return {
    equal,
    of: (key) => besides + (together === undefined ? 0 : fairShares(capacity, claims(key))[0]!),
  }
}

/** One grant for each of `own`, in order. */
export function shareOut(
  { ratePerSecond, byCaller }: GlobalRateSettings,
  budget: Budget,
  own: readonly Asking[],
  elsewhere: readonly Asking[],
): Grant[] {
  const shares = (key: string): number[] => {
    const claims = own.map((asking) => claimOf(asking, key, ratePerSecond, budget.equal))
    return fairShares(budget.of(key), claims)
  }
  if (!byCaller) return shares(ALL_CALLERS).map((share) => ({ share, callers: undefined }))
  const callers = busiest([...own, ...elsewhere])
  const byCallers = callers.map((caller) => shares(caller))
  return own.map((_, i) => ({
    share: budget.equal,
    callers: callers.map((caller, at) => [caller, byCallers[at]![i]!] as const),
  }))
}

function processesOf(asking: readonly Asking[]): number {
  return asking.reduce((sum, { processes }) => sum + processes, 0)
}

/** None can use more than the whole rate, whatever it asks for. */
function claimOf({ processes, perSecond }: Asking, key: string, ratePerSecond: number, equal: number): Claim {
  const wants = Math.min(perSecond.get(key) ?? 0, ratePerSecond * processes)
  return { weight: processes, wants: Math.max(wants, LEAST * equal * processes) }
}

/** The callers with the most demand; of more, no shares are leased. */
export function busiest(asking: readonly Asking[]): string[] {
  const demand = new Map<string, number>()
  for (const { perSecond } of asking) {
    for (const [key, value] of perSecond) {
      if (key !== ALL_CALLERS && value > 0) demand.set(key, (demand.get(key) ?? 0) + value)
    }
  }
  const order = [...demand].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  return order.slice(0, MOST_LEASED_CALLERS).map(([key]) => key)
}
