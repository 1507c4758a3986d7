/**
 * (a) Eleven endpoints at 167 ms, 1,000 requests/s for 60 s; one takes 2 s from second 15 to 45. A
 * call that takes more than 1 s has failed. A client that detects the slow endpoint after 167 ms
 * loses only the calls already sent: 99.973 % succeed.
 *
 * A caller may wait on after its second (the balancer then hears of the late answer) or abandon the
 * call (it never does).
 */

import type { ServiceOptions } from '../../src/resilience/settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { answersAfter, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { type BalancerMaker, SimulatedClient } from './client.ts'
import { PlainPeakEwma } from './plain-peak-ewma.ts'
import { Summary } from './summary.ts'

const ENDPOINTS = 11
const PER_SECOND = 1_000
const UNTIL = 60_000
const USUAL_MS = 167
const DEVIATION_MS = 5
const SLOW_MS = 2_000
const SLOW_FROM = 15_000
const SLOW_TO = 45_000
const PATIENCE_MS = 1_000

export interface SlowEndpointRow {
  readonly policy: string
  readonly caller: 'waits' | 'abandons'
  readonly success: number
  readonly failed: number
  readonly attempts: number
  readonly toSlow: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const ALONE: ServiceOptions = { ejection: false, circuitBreaker: false, throttle: false, retry: { attempts: 1 } }

export const SLOW_ENDPOINT_POLICIES: readonly {
  readonly key: 'roundRobin' | 'leastRequest' | 'plainEwma' | 'default' | 'defaultWithRetry'
  readonly name: string
  readonly options: ServiceOptions
  readonly balancer?: BalancerMaker
}[] = [
  { key: 'roundRobin', name: 'round robin', options: { ...ALONE, balancer: 'round-robin' } },
  { key: 'leastRequest', name: 'least request', options: { ...ALONE, balancer: 'least-request' } },
  { key: 'plainEwma', name: 'plain peak-EWMA', options: ALONE, balancer: (clock) => new PlainPeakEwma(clock) },
  { key: 'default', name: 'default', options: { retry: { attempts: 1 } } },
  { key: 'defaultWithRetry', name: 'default, default retry', options: {} },
]

export function slowEndpoint(
  seed: number,
  policy: (typeof SLOW_ENDPOINT_POLICIES)[number],
  caller: 'waits' | 'abandons',
): SlowEndpointRow {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const retries = policy.options.retry === undefined
  // With retries it is each attempt that has a second; the call has the default time.
  const options: ServiceOptions = retries
    ? { ...policy.options, retry: { perTryTimeout: PATIENCE_MS } }
    : { ...policy.options, timeout: caller === 'abandons' ? PATIENCE_MS : '10s' }
  const client = new SimulatedClient({
    clock,
    options,
    ...(policy.balancer !== undefined && { balancer: policy.balancer }),
  })
  const usual = answersAfter(clock, () => chance.normal(USUAL_MS, DEVIATION_MS))
  const servers = Array.from({ length: ENDPOINTS }, () => new SimulatedServer({ clock, handler: usual }))
  client.use(new Map(servers.map((server, i) => [`e${i}`, server])))
  const slow = servers[3]!
  let toSlow = 0
  at(clock, SLOW_FROM, () => {
    slow.handler = answersAfter(clock, () => chance.normal(SLOW_MS, DEVIATION_MS))
    toSlow = -slow.arrived
  })
  at(clock, SLOW_TO, () => {
    slow.handler = usual
    toSlow += slow.arrived
  })
  const summary = new Summary()
  offer(
    clock,
    new Chance(seed + 1),
    () => PER_SECOND,
    UNTIL,
    () => {
      client.send((call, ended) => {
        const ms = clock.now() - call.startedAt
        summary.add(ended.verdict === 'success' && (retries || ms <= PATIENCE_MS), ms, call.attempts)
      })
    },
  )
  clock.advance(UNTIL + 20_000)
  client.close()
  return {
    policy: policy.name,
    caller,
    success: summary.success,
    failed: summary.failed,
    attempts: summary.attempts,
    toSlow,
    p50Ms: summary.percentile(0.5),
    p99Ms: summary.percentile(0.99),
  }
}
