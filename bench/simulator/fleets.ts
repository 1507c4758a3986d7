/**
 * (l) Fleets of many clients and servers, up to beyond what the machines are allocated: neighbours,
 * unequal hardware, long tails, thin traffic, distance, faults.
 */
import type { Chance } from '../../src/simulator/chance.ts'
import { type Fleet, type FleetPolicy, type FleetRow, runFleet } from './fleet.ts'

const normal40 = (chance: Chance): number => chance.positiveNormal(40)

const RAMP = {
  clients: 20,
  servers: 50,
  workers: 4,
  meanMs: 40,
  workMs: normal40,
  stages: [0.7, 0.85, 1, 1.15, 1.3].map((load) => ({ load, ms: 7_000 })),
  timeoutMs: 1_000,
} satisfies Fleet

const only = (load: number, ms = 12_000): Fleet['stages'] => [{ load, ms }]

export const FLEETS = {
  ramp: RAMP,
  calm: {
    ...RAMP,
    workMs: (chance) => chance.exponential(40),
    stages: only(0.85),
    antagonists: false,
  },
  hetero: { ...RAMP, stages: only(0.9), speed: (i) => (i % 2 === 0 ? 1 : 0.5), antagonists: false },
  heteroAntagonists: { ...RAMP, stages: only(1.1), speed: (i) => (i % 2 === 0 ? 1 : 0.5) },
  heavyTail: {
    ...RAMP,
    workMs: (chance) => Math.min(2_000, chance.logNormal(40, 1.3)),
    stages: only(1),
    timeoutMs: 3_000,
  },
  sparse: { ...RAMP, clients: 100, servers: 100, workers: 2, stages: only(1.1) },
  verySparse: {
    ...RAMP,
    clients: 100,
    servers: 100,
    workers: 1,
    meanMs: 200,
    workMs: (chance) => chance.positiveNormal(200),
    stages: only(1, 40_000),
    settlingMs: 5_000,
    timeoutMs: 5_000,
  },
  far: { ...RAMP, stages: only(1.15), roundTripMs: 20 },
  skewed: { ...RAMP, stages: only(1.15), traffic: (k) => 1 / (k + 1) },
  manyClients: { ...RAMP, clients: 400, stages: only(1) },
  slowMiddle: {
    ...RAMP,
    servers: 20,
    antagonists: false,
    stages: only(0.7, 24_000),
    settlingMs: 0,
    faults: [{ server: 9, from: 8_000, until: 16_000, kind: { slow: 10 } }],
  },
  faults: {
    ...RAMP,
    stages: only(0.7, 25_000),
    settlingMs: 0,
    faults: [
      { server: 3, from: 6_000, until: 21_000, kind: { slow: 10 } },
      { server: 13, from: 6_000, until: 21_000, kind: { fails: 1 } },
      { server: 23, from: 6_000, until: 21_000, kind: 'refuses' },
      { server: 33, from: 6_000, until: 21_000, kind: 'stopped' },
    ],
  },
} satisfies Record<string, Fleet>

export type FleetName = keyof typeof FLEETS

export const FLEET_POLICIES: readonly (FleetPolicy & { readonly name: string })[] = [
  { name: 'peak-ewma', balancer: 'peak-ewma' },
  { name: 'default', balancer: 'least-load' },
  { name: 'default, servers report', balancer: 'least-load', reports: 1 },
]

export interface FleetResult extends FleetRow {
  readonly fleet: string
  readonly policy: string
}

export function fleet(seed: number, name: FleetName): FleetResult[] {
  const { stages, ...rest }: Fleet = FLEETS[name]
  return FLEET_POLICIES.flatMap((policy) =>
    runFleet(seed, { ...rest, stages }, policy).map((row, i) => ({
      fleet: stages.length === 1 ? name : `${name}, ${Math.round(100 * stages[i]!.load)} %`,
      policy: policy.name,
      ...row,
    })),
  )
}
