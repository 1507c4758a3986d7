/** Scenarios (n) to (p), in which something is wrong with many: their figures and tables. */
import { type Blackout, blackout } from './n-blackout.ts'
import { type FailuresInPart, failuresInPart, PARTIAL_FAULTS } from './o-failures-in-part.ts'
import { type Zones, zonesByLoad } from './p-zones.ts'

export interface TroubleFigures {
  readonly n: { readonly failedAfter: number; readonly allBackMs: number }
  /** In percent of the calls. */
  readonly o: { readonly thirdFails: number; readonly halfFailsFast: number; readonly manyFail: number }
  readonly p: { readonly failed: number; readonly localInOneZone: number; readonly localInAllZones: number }
}

export function figuresN(seed: number): { figures: TroubleFigures['n']; rows: readonly Blackout[] } {
  const rows = [
    blackout(seed, { load: 0.7, outageMs: 5_000, clients: 1, meets: 'closed ports' }),
    blackout(seed, { load: 0.7, outageMs: 20_000, clients: 1, meets: 'closed ports' }),
    blackout(seed, { load: 0.7, outageMs: 20_000, clients: 3, meets: 'closed ports' }),
    blackout(seed, { load: 0.7, outageMs: 20_000, clients: 3, meets: 'errors' }),
    blackout(seed, { load: 0.7, outageMs: 20_000, clients: 3, meets: 'silence' }),
    blackout(seed, { load: 0.7, outageMs: 5_000, clients: 3, meets: 'silence' }),
    blackout(seed, { load: 0.3, outageMs: 20_000, clients: 3, meets: 'closed ports', stayDead: 4 }),
  ]
  return {
    figures: {
      failedAfter: rows.reduce((sum, { failedAfter }) => sum + failedAfter, 0),
      allBackMs: Math.max(...rows.map(({ allBackMs }) => allBackMs)),
    },
    rows,
  }
}

export function figuresO(seed: number): { figures: TroubleFigures['o']; rows: readonly FailuresInPart[] } {
  const rows = PARTIAL_FAULTS.map((what) => failuresInPart(seed, what))
  const [thirdFails, halfFailsFast, manyFail] = rows.map(({ failedPercent }) => failedPercent)
  return {
    figures: { thirdFails: thirdFails!, halfFailsFast: halfFailsFast!, manyFail: manyFail! },
    rows,
  }
}

export function figuresP(seed: number): { figures: TroubleFigures['p']; rows: readonly Zones[] } {
  const rows = [6, 60].flatMap((clients) => [
    zonesByLoad(seed, 'in zone a', clients),
    zonesByLoad(seed, 'in all zones', clients),
  ])
  const least = (callers: Zones['callers']): number =>
    Math.min(...rows.filter((row) => row.callers === callers).map(({ local }) => local))
  return {
    figures: {
      failed: rows.reduce((sum, { failed }) => sum + failed, 0),
      localInOneZone: least('in zone a'),
      localInAllZones: least('in all zones'),
    },
    rows,
  }
}
