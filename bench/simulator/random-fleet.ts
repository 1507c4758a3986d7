/**
 * (m) Fleets of any size and load with faults of any kind in a fifth of their servers at most,
 * against the same fleet without faults.
 */
import { Chance } from '../../src/simulator/chance.ts'
import { type Fleet, type FleetPolicy, runFleet } from './fleet.ts'
import type { Fault } from './servers.ts'

const MS = 15_000
/** Enough for percentiles, and a run of a second. */
const MOST_PER_MS = 2

export interface RandomFaults {
  /** Failed calls beyond those of the calm fleet, in percent. */
  readonly failedPercent: number
  readonly p99OverCalm: number
}

/** The mean over seeds from `from`. */
export function randomFaults(from: number, seeds: number, policy: FleetPolicy): RandomFaults {
  let failedPercent = 0
  let p99OverCalm = 0
  for (let seed = from; seed < from + seeds; seed++) {
    const fleet = randomFleet(seed)
    const [faulty] = runFleet(seed, fleet, policy)
    const [calm] = runFleet(seed, { ...fleet, faults: [] }, policy)
    failedPercent += (faulty!.failedPercent - calm!.failedPercent) / seeds
    p99OverCalm += faulty!.p99Ms / calm!.p99Ms / seeds
  }
  return { failedPercent, p99OverCalm }
}

export function randomFleet(seed: number): Fleet {
  const chance = new Chance(seed + 90_000)
  const clients = chance.integer(3, 40)
  const servers = chance.integer(5, 40)
  const workers = chance.integer(1, 8)
  const load = chance.between(0.4, 0.85)
  const meanMs = Math.max(chance.between(5, 100), (servers * workers * load) / MOST_PER_MS)
  const sigma = chance.between(0.3, 1.1)
  return {
    clients,
    servers,
    workers,
    meanMs,
    workMs: chance.oneOf([
      (drawn: Chance) => drawn.positiveNormal(meanMs),
      (drawn: Chance) => drawn.exponential(meanMs),
      (drawn: Chance) => Math.min(50 * meanMs, drawn.logNormal(meanMs, sigma)),
    ]),
    stages: [{ load, ms: MS }],
    antagonists: chance.happens(0.5),
    timeoutMs: Math.max(500, 25 * meanMs),
    faults: Array.from({ length: chance.integer(1, Math.floor(servers / 5)) }, (_, i) => fault(chance, i)),
  }
}

function fault(chance: Chance, server: number): Fault {
  const from = chance.between(2_000, 7_000)
  return {
    server,
    from,
    until: from + chance.between(1_000, 7_000),
    kind: chance.oneOf([
      { slow: chance.between(3, 20) },
      { fails: chance.oneOf([0.3, 0.5, 1]) },
      'stopped' as const,
      'refuses' as const,
    ]),
  }
}
