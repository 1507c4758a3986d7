/**
 * (d) Three tiers that call each other, each with the default retries, on top of a last one that
 * fails 100 % with 503, or of which all instances refuse connections: how much of the offered load
 * arrives at the bottom. Budgets have to hold it alone: breakers and throttles, which let next to
 * nothing through, are off.
 */
import type { Call } from '../../src/core/call.ts'
import { outcome } from '../../src/core/outcome.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { answersAfter, type Handler, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'

const TIERS = 3
const ENDPOINTS = 4
const FAILS_FROM = 5_000
const UNTIL = 15_000
const FAILED = outcome('failure', 'overloaded', undefined, 503)

export interface ThreeTiers {
  readonly policy: string
  readonly perSecond: number
  readonly amplification: number
  readonly worstSecond: number
}

export function threeTiers(
  seed: number,
  perSecond: number,
  kind: 'budgets alone' | 'no budgets' | 'default' | 'nobody listens',
): ThreeTiers {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const bottom: number[] = []
  const top: number[] = []
  const count = (into: number[]): void => {
    const second = Math.floor(clock.now() / 1_000)
    into[second] = (into[second] ?? 0) + 1
  }
  let leaf: Handler = answersAfter(clock, () => chance.normal(5, 1))
  const leaves = Array.from(
    { length: ENDPOINTS },
    () => new SimulatedServer({ clock, handler: (call, reply) => leaf(call, reply), onArrival: () => count(bottom) }),
  )
  let below = leaves
  const clients: SimulatedClient[] = []
  for (let tier = 0; tier < TIERS; tier++) {
    const client = new SimulatedClient({
      clock,
      // A connection that is refused is load only for those who make it.
      ...(kind === 'nobody listens' && tier === 0 && { telemetry: { ...SILENT, attemptStarted: () => count(bottom) } }),
      options: {
        ...(kind !== 'default' && { circuitBreaker: false, throttle: false }),
        ...(kind === 'no budgets' && { retry: { budget: { ratio: 10 } } }),
      },
    })
    client.use(new Map(below.map((server, i) => [`e${i}`, server])))
    clients.push(client)
    // It answers as the one below answered it: the worst that an application can do.
    const handler: Handler = (call: Call, reply) => {
      client.send((_, ended) => reply(ended.verdict === 'success' ? ended : FAILED), call)
    }
    below = Array.from({ length: ENDPOINTS }, () => new SimulatedServer({ clock, handler }))
  }
  // The offered load enters at the first caller, whose own retries count.
  const first = clients.at(-1)!
  at(clock, FAILS_FROM, () => {
    leaf = answersAfter(clock, () => chance.normal(5, 1), FAILED)
    if (kind === 'nobody listens') {
      const last = clients[0]!
      last.instances = new Map([...last.instances.keys()].map((id) => [id, undefined]))
    }
  })
  offer(
    clock,
    new Chance(seed + 1),
    () => perSecond,
    UNTIL,
    () => {
      count(top)
      first.send(() => {})
    },
  )
  clock.advance(UNTIL + 20_000)
  for (const client of clients) client.close()
  const from = FAILS_FROM / 1_000
  const to = UNTIL / 1_000
  const sum = (of: number[]): number => of.slice(from, to).reduce((a, b) => a + (b ?? 0), 0)
  return {
    policy: kind,
    perSecond,
    amplification: sum(bottom) / sum(top),
    worstSecond: Math.max(...bottom.slice(from, to).map((each, i) => each / top[from + i]!)),
  }
}
