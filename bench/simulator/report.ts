/** All scenarios with one seed: the figures that are promised, and the tables behind them. */
import { SLOW_ENDPOINT_POLICIES, type SlowEndpointRow, slowEndpoint } from './a-slow-endpoint.ts'
import { type TroubledEndpoints, troubledEndpoints } from './b-troubled-endpoints.ts'
import { type FastFailing, fastFailing } from './c-fast-failing.ts'
import { type ThreeTiers, threeTiers } from './d-three-tiers.ts'
import { type Burst, burst } from './e-burst.ts'
import { type Overload, overload } from './f-overload.ts'
import { FLEET_POLICIES, FLEETS, type FleetName, type FleetResult, fleet } from './fleets.ts'
import { type MixedLoad, mixedLoad } from './g-mixed-load.ts'
import { type Leaving, oneDead, oneLeaves } from './h-leaving.ts'
import { type Split, splitUnderChurn } from './i-split.ts'
import { type Sticky, stickyOverChanges } from './j-sticky.ts'
import { type Failover, failoverThereAndBack } from './k-failover.ts'
import { type RandomFaults, randomFaults } from './random-fleet.ts'

/** Success in percent, the rest as ratios. */
export interface Figures {
  readonly a: Readonly<Record<SlowEndpointKey, number>> & {
    /** The same for a caller that abandons a call after its second; those above wait on. */
    readonly abandoning: Readonly<Record<SlowEndpointKey, number>>
  }
  readonly b: Omit<TroubledEndpoints, 'success'>
  readonly c: { readonly fastFailShare: number }
  readonly d: { readonly amplification: number; readonly amplificationWhereNobodyListens: number }
  readonly e: { readonly goodputAfter10s: number; readonly goodputWithoutBudget: number }
  readonly f: { readonly goodput: number; readonly p99OverUnloaded: number }
  readonly g: { readonly p99OverLeastRequest: number }
  readonly h: { readonly lostToTheDead: number; readonly lostToTheLeaving: number }
  readonly i: Split
  readonly j: Sticky
  readonly k: Failover
  /** By fleet and load, of the default: what is left of the p99 of `peak-ewma`. */
  readonly l: Readonly<Record<string, number>>
  readonly m: RandomFaults
}

type SlowEndpointKey = (typeof SLOW_ENDPOINT_POLICIES)[number]['key']

export function figuresA(seed: number): { figures: Figures['a']; rows: readonly SlowEndpointRow[] } {
  const rows: SlowEndpointRow[] = []
  const by = (caller: 'waits' | 'abandons'): Record<SlowEndpointKey, number> => {
    const success = {} as Record<SlowEndpointKey, number>
    for (const policy of SLOW_ENDPOINT_POLICIES) {
      const row = slowEndpoint(seed, policy, caller)
      rows.push(row)
      success[policy.key] = row.success
    }
    return success
  }
  return { figures: { ...by('waits'), abandoning: by('abandons') }, rows }
}

export function figuresB(seed: number): { figures: Figures['b']; rows: readonly TroubledEndpoints[] } {
  const row = troubledEndpoints(seed)
  const { success: _, ...figures } = row
  return { figures, rows: [row] }
}

export function figuresC(seed: number): { figures: Figures['c']; rows: readonly FastFailing[] } {
  const own = [fastFailing(seed, 500), fastFailing(seed, 429)]
  return {
    figures: { fastFailShare: Math.max(...own.map(({ share }) => share)) },
    rows: [...own, fastFailing(seed, 500, true), fastFailing(seed, 429, true)],
  }
}

export function figuresD(seed: number): { figures: Figures['d']; rows: readonly ThreeTiers[] } {
  const own = threeTiers(seed, 1_000, 'budgets alone')
  const nobody = threeTiers(seed, 1_000, 'nobody listens')
  return {
    figures: { amplification: own.amplification, amplificationWhereNobodyListens: nobody.amplification },
    rows: [own, nobody, threeTiers(seed, 1_000, 'default'), threeTiers(seed, 200, 'no budgets')],
  }
}

export function figuresE(seed: number): { figures: Figures['e']; rows: readonly Burst[] } {
  const [whole, budget, none] = [burst(seed, 'default'), burst(seed, 'budget'), burst(seed, 'none')] as const
  return {
    figures: {
      // Breaker and throttle may not hide what the budget does, nor spoil it.
      goodputAfter10s: Math.min(whole.after10s, budget.after10s) / 100,
      goodputWithoutBudget: Math.max(none.after10s, none.atTheEnd) / 100,
    },
    rows: [whole, budget, none],
  }
}

export function figuresF(seed: number): { figures: Figures['f']; rows: readonly Overload[] } {
  const own = overload(seed, 'adaptive')
  return {
    figures: { goodput: own.goodput, p99OverUnloaded: own.p99OverUnloaded },
    rows: [
      own,
      overload(seed, { algorithm: 'gradient2' }),
      overload(seed, { algorithm: 'aimd' }),
      overload(seed, undefined),
    ],
  }
}

export function figuresG(seed: number): { figures: Figures['g']; rows: readonly MixedLoad[] } {
  const rows = SLOW_ENDPOINT_POLICIES.map((policy) => mixedLoad(seed, policy))
  const of = (key: SlowEndpointKey): MixedLoad => rows[SLOW_ENDPOINT_POLICIES.findIndex((each) => each.key === key)]!
  return { figures: { p99OverLeastRequest: of('default').p99Ms / of('leastRequest').p99Ms }, rows }
}

export function figuresH(seed: number): { figures: Figures['h']; rows: readonly Leaving[] } {
  const dead = oneDead(seed)
  const leaving = oneLeaves(seed)
  return { figures: { lostToTheDead: dead.lost, lostToTheLeaving: leaving.lost }, rows: [dead, leaving] }
}

export function figuresI(seed: number): { figures: Figures['i']; rows: readonly Split[] } {
  const row = splitUnderChurn(seed)
  return { figures: row, rows: [row] }
}

export function figuresJ(seed: number): { figures: Figures['j']; rows: readonly Sticky[] } {
  const row = stickyOverChanges(seed)
  return { figures: row, rows: [row] }
}

export function figuresK(seed: number): { figures: Figures['k']; rows: readonly Failover[] } {
  const row = failoverThereAndBack(seed)
  return { figures: row, rows: [row] }
}

export function figuresL(seed: number): { figures: Figures['l']; rows: readonly FleetResult[] } {
  const rows = (Object.keys(FLEETS) as FleetName[]).flatMap((name) => fleet(seed, name))
  const before = new Map(rows.filter(({ policy }) => policy === 'peak-ewma').map((row) => [row.fleet, row.p99Ms]))
  const own = rows.filter(({ policy }) => policy === 'default')
  return { figures: Object.fromEntries(own.map((row) => [row.fleet, row.p99Ms / before.get(row.fleet)!])), rows }
}

/** Enough that no single fleet decides. */
const RANDOM_FLEETS = 40

export function figuresM(seed: number): {
  figures: Figures['m']
  rows: readonly (RandomFaults & { readonly policy: string })[]
} {
  const rows = FLEET_POLICIES.map((policy) => ({
    policy: policy.name,
    ...randomFaults(seed, RANDOM_FLEETS, policy),
  }))
  const { policy: _, ...figures } = rows[1]!
  return { figures, rows }
}
