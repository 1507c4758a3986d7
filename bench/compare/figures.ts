/** Computes the reported figures from samples. */
import type { FaultResult } from './faults.ts'
import { type Spread, spread } from './statistics.ts'
import type { Sample } from './steady.ts'
import { ROLES, type Role, WAYS, type WayName } from './ways/way.ts'

/** At most so much of what the sidecar pair adds over direct plaintext: CPU at two rates, p50. */
export const TARGETS = { cpu: 0.2, cpuSlow: 0.5, p50: 0.4 } as const

export interface WayFigures {
  readonly cpu: Spread
  /** Medians. */
  readonly cpuByRole: Readonly<Record<Role, number>>
  readonly memoryMb: number
  readonly memoryByRole: Readonly<Record<Role, number>>
  readonly p50Ms: Spread
  readonly p90Ms: Spread
  readonly p99Ms: Spread
  /** Over direct plaintext of the same round. */
  readonly cpuAdded: Spread
  readonly p50Added: Spread
  readonly p90Added: Spread
  readonly p99Added: Spread
}

export interface Figures {
  readonly ways: Readonly<Record<WayName, WayFigures>>
  /** What inmesh adds over direct plaintext, as a share of what the sidecar pair adds. */
  readonly cpuAddedOverSidecar: Spread
  /** The same at the lower rate. */
  readonly cpuAddedOverSidecarSlow: Spread
  /** CPU seconds per 1,000 requests at the lower rate. */
  readonly cpuSlow: Readonly<Record<WayName, Spread>>
  /** The same over direct plaintext of the same round. */
  readonly cpuAddedSlow: Readonly<Record<WayName, Spread>>
  readonly p50AddedOverSidecar: Spread
  readonly failed: Readonly<Record<WayName, number>>
  readonly failedPosts: Readonly<Record<WayName, number>>
  readonly duplicated: Readonly<Record<WayName, number>>
  readonly repeatedGets: Readonly<Record<WayName, number>>
}

export type Rounds = readonly ReadonlyMap<string, Sample>[]
export type FaultResults = ReadonlyMap<string, ReadonlyMap<string, FaultResult>>

export function cpuOf(sample: Sample): number {
  return ROLES.reduce((sum, role) => sum + sample.cpu[role], 0)
}

export function figuresOf(rounds: Rounds, slowRounds: Rounds, faults: FaultResults): Figures {
  const cpuAdded = added(rounds, cpuOf)
  const cpuAddedSlow = added(slowRounds, cpuOf)
  const p50Added = added(rounds, ({ p50Ms }) => p50Ms)
  const results = [...faults.values()]
  const total = (of: (result: FaultResult) => number): Record<WayName, number> =>
    each((way) => results.reduce((sum, result) => sum + of(result.get(way)!), 0))
  return {
    ways: each((way) => wayFigures(rounds, way)),
    cpuAddedOverSidecar: overSidecar(cpuAdded),
    cpuAddedOverSidecarSlow: overSidecar(cpuAddedSlow),
    cpuSlow: each((way) => spread(slowRounds.map((round) => cpuOf(round.get(way)!)))),
    cpuAddedSlow: each((way) => spread(cpuAddedSlow[way])),
    p50AddedOverSidecar: overSidecar(p50Added),
    failed: total(({ load }) => load.gets.failed),
    failedPosts: total(({ load }) => load.posts.failed),
    duplicated: total(({ repeats }) => repeats.posts),
    repeatedGets: total(({ repeats }) => repeats.gets),
  }
}

/** Of every way and round, what it adds over direct plaintext in that round. */
function added(rounds: Rounds, of: (sample: Sample) => number): Record<WayName, number[]> {
  return each((way) => rounds.map((round) => of(round.get(way)!) - of(round.get('direct')!)))
}

/**
 * The median is that of the differences, which a round in which the machine was busy with something
 * else moves less than ratios.
 */
function overSidecar(added: Record<WayName, number[]>): Spread {
  const { low, high } = spread(added.inmesh.map((value, round) => value / added.sidecar[round]!))
  return { median: spread(added.inmesh).median / spread(added.sidecar).median, low, high }
}

function wayFigures(rounds: Rounds, way: WayName): WayFigures {
  const samples = rounds.map((round) => round.get(way)!)
  const medians = (of: (sample: Sample) => Readonly<Record<Role, number>>): Record<Role, number> =>
    Object.fromEntries(ROLES.map((role) => [role, spread(samples.map((sample) => of(sample)[role])).median])) as Record<
      Role,
      number
    >
  const memoryByRole = medians(({ memoryMb }) => memoryMb)
  return {
    cpu: spread(samples.map(cpuOf)),
    cpuByRole: medians(({ cpu }) => cpu),
    memoryByRole,
    memoryMb: ROLES.reduce((sum, role) => sum + memoryByRole[role], 0),
    p50Ms: spread(samples.map(({ p50Ms }) => p50Ms)),
    p90Ms: spread(samples.map(({ p90Ms }) => p90Ms)),
    p99Ms: spread(samples.map(({ p99Ms }) => p99Ms)),
    cpuAdded: spread(added(rounds, cpuOf)[way]),
    p50Added: spread(added(rounds, ({ p50Ms }) => p50Ms)[way]),
    p90Added: spread(added(rounds, ({ p90Ms }) => p90Ms)[way]),
    p99Added: spread(added(rounds, ({ p99Ms }) => p99Ms)[way]),
  }
}

function each<T>(of: (way: WayName) => T): Record<WayName, T> {
  return Object.fromEntries(WAYS.map((way) => [way, of(way)])) as Record<WayName, T>
}
