/**
 * (p) Three zones with 2, 3 and 5 servers. Callers stand in the smallest zone or in all of them;
 * the load rises from 20 % to 95 % of the capacity and falls again. Calls fail after 1 s.
 */
import { Chance } from '../../src/simulator/chance.ts'
import { type Placed, RoutedClient } from '../../src/simulator/routed-client.ts'
import { Servers } from './servers.ts'

const ZONES = { a: 2, b: 3, c: 5 } as const
/** The zone of each server. */
const OF_SERVERS = Object.entries(ZONES).flatMap(([zone, count]) => new Array<string>(count).fill(zone))
const WORKERS = 4
const MEAN_MS = 40
/** Of the capacity, in steps of 10 s. */
const LOADS = [0.2, 0.4, 0.6, 0.8, 0.95, 0.8, 0.4, 0.2]
const STEP_MS = 10_000

export interface Zones {
  readonly callers: 'in zone a' | 'in all zones'
  readonly clients: number
  readonly failed: number
  /** At the highest load. */
  readonly failedAtPeakPercent: number
  readonly p99AtPeakMs: number
  /** Share of the calls that stay in their zone, by load on the way up. */
  readonly localAt20: number
  readonly localAt40: number
  readonly localAt60: number
  readonly localAt80: number
  readonly localAtPeak: number
  readonly localAfter: number
  readonly local: number
  /** What of all calls the callers' own zones can serve. */
  readonly atMost: number
}

export function zonesByLoad(
  seed: number,
  callers: Zones['callers'],
  clients: number,
  zone: 'prefer' | 'ignore' = 'prefer',
): Zones {
  const servers = new Servers(seed, {
    ...{ servers: OF_SERVERS.length, workers: WORKERS, meanMs: MEAN_MS },
    workMs: (chance) => chance.exponential(MEAN_MS),
  })
  const { clock } = servers
  const placed = servers.all.map(({ id, server }, i): Placed => ({ id, zone: OF_SERVERS[i]!, server }))
  const everywhere = Object.keys(ZONES)
  const own = Array.from({ length: clients }, (_, i) => (callers === 'in zone a' ? 'a' : everywhere[i % 3]!))
  const doors = own.map((each) => new RoutedClient(clock, each))
  for (const door of doors) {
    door.configure({ service: 'inventory', timeout: '1s', retry: { attempts: 1 }, zone })
    door.use('inventory', placed)
  }
  const steps = LOADS.map(() => ({ calls: 0, failed: 0, local: 0, durations: [] as number[] }))
  const loadAt = (now: number): number => LOADS[Math.min(LOADS.length - 1, Math.floor(now / STEP_MS))]!
  const until = LOADS.length * STEP_MS
  servers.offer([...doors.entries()], new Chance(seed + 1), loadAt, until, ([from, door]) => {
    const at = clock.now()
    const step = steps[Math.floor(at / STEP_MS)]!
    door.send('inventory', (call, { verdict }) => {
      step.calls += 1
      if (verdict === 'success') step.durations.push(clock.now() - at)
      else step.failed += 1
      if (call.endpoint?.zone === own[from]) step.local += 1
    })
  })
  clock.advance(until + 20_000)
  for (const door of doors) door.close()
  const peak = steps[4]!
  peak.durations.sort((a, b) => a - b)
  const [at20, at40, at60, at80, atPeak, , , after] = steps.map(({ local, calls }) => local / calls)
  const sum = (of: 'calls' | 'local' | 'failed'): number => steps.reduce((all, step) => all + step[of], 0)
  return {
    ...{ callers, clients },
    failed: sum('failed'),
    failedAtPeakPercent: (100 * peak.failed) / peak.calls,
    p99AtPeakMs: peak.durations[Math.floor(0.99 * peak.durations.length)]!,
    ...{ localAt20: at20!, localAt40: at40!, localAt60: at60!, localAt80: at80!, localAtPeak: atPeak! },
    localAfter: after!,
    local: sum('local') / sum('calls'),
    atMost: mostLocal(callers),
  }
}

function mostLocal(callers: Zones['callers']): number {
  const servers = Object.values(ZONES).reduce<number>((sum, count) => sum + count, 0)
  const zones = callers === 'in zone a' ? [ZONES.a] : Object.values(ZONES)
  const offered = LOADS.reduce((sum, load) => sum + load, 0)
  const served = LOADS.flatMap((load) => zones.map((count) => Math.min(load / zones.length, count / servers)))
  return served.reduce((sum, each) => sum + each, 0) / offered
}
