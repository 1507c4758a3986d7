/**
 * (c) Five endpoints at 20 ms, 500 requests/s for 30 s; one answers 500 or 429 in 1 ms. To a
 * balancer that knows only latency it is the best of all.
 */
import { outcome } from '../../src/core/outcome.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { answersAfter, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { type BalancerMaker, SimulatedClient } from './client.ts'
import { PlainPeakEwma } from './plain-peak-ewma.ts'

const ENDPOINTS = 5
const PER_SECOND = 500
const UNTIL = 30_000
const USUAL_MS = 20
const DEVIATION_MS = 2

export interface FastFailing {
  readonly status: 429 | 500
  readonly policy: string
  /** Of the first second and of the rest. */
  readonly firstSecondShare: number
  readonly share: number
}

export function fastFailing(seed: number, status: 429 | 500, plain = false): FastFailing {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const balancer: BalancerMaker = (shared) => new PlainPeakEwma(shared)
  const client = new SimulatedClient({
    clock,
    options: plain
      ? { retry: { attempts: 1 }, ejection: false, circuitBreaker: false, throttle: false }
      : { retry: { attempts: 1 } },
    ...(plain && { balancer }),
  })
  const failure = outcome('failure', status === 429 ? 'overloaded' : 'server-error', undefined, status)
  const usual = answersAfter(clock, () => chance.normal(USUAL_MS, DEVIATION_MS))
  const failing = answersAfter(clock, () => 1, failure)
  const servers = Array.from(
    { length: ENDPOINTS },
    (_, i) => new SimulatedServer({ clock, handler: i === 0 ? failing : usual }),
  )
  client.use(new Map(servers.map((server, i) => [`e${i}`, server])))
  let total = 0
  offer(
    clock,
    new Chance(seed + 1),
    () => PER_SECOND,
    UNTIL,
    () => {
      total += 1
      client.send(() => {})
    },
  )
  clock.advance(1_000)
  const first = { failing: servers[0]!.arrived, total }
  clock.advance(UNTIL + 9_000)
  client.close()
  return {
    status,
    policy: plain ? 'plain peak-EWMA' : 'default',
    firstSecondShare: first.failing / first.total,
    share: (servers[0]!.arrived - first.failing) / (total - first.total),
  }
}
