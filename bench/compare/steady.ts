/**
 * Measures the cost of each way without faults. The ways take turns, in another order each round,
 * and are compared only within a round.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Load } from './load/load.ts'
import type { LoadResult } from './load/open-loop.ts'
import { cpuSeconds, residentMb } from './proc.ts'
import { percentile } from './statistics.ts'
import { ROLES, type Role, type Way } from './ways/way.ts'

/** Of one way in one round. */
export interface Sample {
  /** CPU seconds per 1,000 requests. */
  readonly cpu: Readonly<Record<Role, number>>
  readonly memoryMb: Readonly<Record<Role, number>>
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly load: LoadResult
}

/**
 * Before each sample, uncounted: while the other ways had their turn, idle connections were closed.
 */
const LEAD_IN_MS = 500

export interface SteadyPlan {
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
  readonly perSecond: number
  readonly postShare: number
}

/** One entry a round, each with a sample of every way. */
export async function measureSteady(
  ways: readonly Way[],
  load: Load,
  plan: SteadyPlan,
  say: (line: string) => void,
): Promise<Map<string, Sample>[]> {
  for (const way of ways) await sample(way, load, plan, 'warm', plan.warmUpSeconds)
  const rounds: Map<string, Sample>[] = []
  for (let round = 0; round < plan.rounds; round++) {
    say(`round ${round + 1} of ${plan.rounds}: ${ways.length} × ${plan.seconds} s at ${plan.perSecond} requests/s`)
    const samples = new Map<string, Sample>()
    for (let turn = 0; turn < ways.length; turn++) {
      const way = ways[(turn + round) % ways.length]!
      samples.set(way.name, await sample(way, load, plan, `steady${round}`, plan.seconds))
    }
    rounds.push(samples)
  }
  return rounds
}

async function sample(way: Way, load: Load, plan: SteadyPlan, prefix: string, seconds: number): Promise<Sample> {
  const lead = load.begin(way.origin, { ...plan, prefix: `lead-${prefix}-${way.name}` })
  await wait(LEAD_IN_MS)
  await lead()
  const processes = way.running()
  const pids = processes.map(({ pid }) => pid)
  const before = cpuSeconds(pids)
  const end = load.begin(way.origin, {
    perSecond: plan.perSecond,
    postShare: plan.postShare,
    prefix: `${prefix}-${way.name}`,
  })
  await wait(seconds * 1000)
  const result = await end()
  const after = cpuSeconds(pids)
  const requests = result.gets.requests + result.posts.requests
  const cpu = byRole(processes, (i) => ((after[i]! - before[i]!) * 1000) / requests)
  const latencies = result.latenciesMs
  return {
    cpu,
    memoryMb: byRole(processes, (i) => residentMb(pids[i]!)),
    p50Ms: percentile(latencies, 0.5),
    p90Ms: percentile(latencies, 0.9),
    p99Ms: percentile(latencies, 0.99),
    load: { ...result, latenciesMs: [] },
  }
}

function byRole(processes: readonly { readonly role: Role }[], value: (i: number) => number): Record<Role, number> {
  const sums = Object.fromEntries(ROLES.map((role) => [role, 0])) as Record<Role, number>
  for (const [i, { role }] of processes.entries()) sums[role] += value(i)
  return sums
}
