/**
 * (g) Ten equal instances with a queue each, at 80 % of what they can do; one request in ten takes
 * 60 ms, the others 5 ms. Nothing is wrong here: this shows what the default's watchfulness costs
 * where latency says little.
 */
import type { ServiceOptions } from '../../src/resilience/settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { Machine } from '../../src/simulator/machine.ts'
import { SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import type { SLOW_ENDPOINT_POLICIES } from './a-slow-endpoint.ts'
import { SimulatedClient } from './client.ts'
import { Summary } from './summary.ts'

const INSTANCES = 10
const WORKERS = 4
const SHORT_MS = 5
const LONG_MS = 60
const LONG_SHARE = 0.1
const LOAD = 0.8
const UNTIL = 10_000

export interface MixedLoad {
  readonly policy: string
  readonly success: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
}

export function mixedLoad(seed: number, policy: (typeof SLOW_ENDPOINT_POLICIES)[number]): MixedLoad {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const options: ServiceOptions = policy.options
  const client = new SimulatedClient({
    clock,
    options,
    ...(policy.balancer !== undefined && { balancer: policy.balancer }),
  })
  const instances = Array.from({ length: INSTANCES }, () => {
    const machine = new Machine(clock, WORKERS, () => (chance.happens(LONG_SHARE) ? LONG_MS : SHORT_MS))
    return new SimulatedServer({ clock, handler: machine.handle })
  })
  client.use(new Map(instances.map((server, i) => [`e${i}`, server])))
  const meanMs = LONG_SHARE * LONG_MS + (1 - LONG_SHARE) * SHORT_MS
  const perSecond = (LOAD * INSTANCES * WORKERS * 1_000) / meanMs
  const summary = new Summary()
  offer(
    clock,
    new Chance(seed + 1),
    () => perSecond,
    UNTIL,
    () => {
      client.send((call, ended) =>
        summary.add(ended.verdict === 'success', clock.now() - call.startedAt, call.attempts),
      )
    },
  )
  clock.advance(UNTIL + 20_000)
  client.close()
  return {
    policy: policy.name,
    success: summary.success,
    p50Ms: summary.percentile(0.5),
    p90Ms: summary.percentile(0.9),
    p99Ms: summary.percentile(0.99),
    p999Ms: summary.percentile(0.999),
  }
}
