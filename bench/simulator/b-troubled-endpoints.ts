/**
 * (b) Ten endpoints at 40 ms, 1,000 requests/s for 90 s, no retries. One is 10 times slower in the
 * middle third; one joins at second 10 and is cold: six times slower at first, warm after 5 s; one
 * fails for ever from the start; one fails from second 40 to 55.
 */
import { outcome } from '../../src/core/outcome.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { answersAfter, type Handler, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'

const PER_SECOND = 1_000
const UNTIL = 90_000
const USUAL_MS = 40
const DEVIATION_MS = 4
const SLOW_FROM = 30_000
const SLOW_TO = 60_000
const COLD_FROM = 10_000
const COLD_FOR = 5_000
const COLD_FACTOR = 6
const ILL_FROM = 40_000
const ILL_TO = 55_000
const FAILED = outcome('failure', 'server-error', undefined, 500)

/** Shares are relative to the fair one, which counts the endpoints that are able to serve. */
export interface TroubledEndpoints {
  readonly slowShareOfFair: number
  /** Of the second that ends 5 s after healing. */
  readonly recoveredShareOfFairAfter5s: number
  /** The largest share of any second after it joined. */
  readonly coldPeakShareOfFair: number
  /** Calls that failed on the endpoint that fails for ever, of all calls, in percent. */
  readonly deadFailedPercent: number
  /** The most in any 30 s after it was first ejected. */
  readonly deadProbesPer30s: number
  /** The same for the endpoint that failed for a while. */
  readonly illFailedPercent: number
  readonly illShareOfFairAfter12s: number
  readonly success: number
}

export function troubledEndpoints(seed: number): TroubledEndpoints {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  let deadEjectedAt = Number.POSITIVE_INFINITY
  const client = new SimulatedClient({
    clock,
    options: { retry: { attempts: 1 } },
    listeners: {
      onEjection: (endpoint, _from, to) => {
        if (endpoint.id === 'dead' && to === 'ejected') deadEjectedAt = Math.min(deadEjectedAt, clock.now())
      },
    },
  })
  const usual = answersAfter(clock, () => chance.normal(USUAL_MS, DEVIATION_MS))
  const fails: Handler = answersAfter(clock, () => chance.between(1, 5), FAILED)
  const seconds = UNTIL / 1_000
  const arrivals = new Map<string, number[]>()
  const instances = new Map<string, SimulatedServer>()
  const add = (id: string, handler: Handler): SimulatedServer => {
    const counts: number[] = new Array(seconds).fill(0)
    const onArrival = (): void => {
      counts[Math.floor(clock.now() / 1_000)]! += 1
    }
    const server = new SimulatedServer({ clock, handler, onArrival })
    arrivals.set(id, counts)
    instances.set(id, server)
    return server
  }
  const slow = add('slow', usual)
  const probes: number[] = []
  add('dead', (call, reply) => {
    if (clock.now() > deadEjectedAt) probes.push(clock.now())
    fails(call, reply)
  })
  const ill = add('ill', usual)
  for (let i = 0; i < 6; i++) add(`well-${i}`, usual)
  client.use(new Map(instances))
  at(clock, COLD_FROM, () => {
    add(
      'cold',
      answersAfter(clock, () => {
        const warm = Math.min(1, (clock.now() - COLD_FROM) / COLD_FOR)
        return chance.normal(USUAL_MS, DEVIATION_MS) * (COLD_FACTOR - (COLD_FACTOR - 1) * warm)
      }),
    )
    client.use(new Map(instances))
  })
  at(clock, SLOW_FROM, () => {
    slow.handler = answersAfter(clock, () => 10 * chance.normal(USUAL_MS, DEVIATION_MS))
  })
  at(clock, SLOW_TO, () => {
    slow.handler = usual
  })
  at(clock, ILL_FROM, () => {
    ill.handler = fails
  })
  at(clock, ILL_TO, () => {
    ill.handler = usual
  })
  const failed = { all: 0, dead: 0, ill: 0 }
  let total = 0
  offer(
    clock,
    new Chance(seed + 1),
    () => PER_SECOND,
    UNTIL,
    () => {
      total += 1
      client.send((call, ended) => {
        if (ended.verdict === 'success') return
        failed.all += 1
        if (call.endpoint?.id === 'dead') failed.dead += 1
        if (call.endpoint?.id === 'ill') failed.ill += 1
      })
    },
  )
  clock.advance(UNTIL + 20_000)
  client.close()
  const of = (id: string, from: number, to: number): number => {
    let own = 0
    let all = 0
    for (const [each, counts] of arrivals) {
      const sum = counts.slice(from / 1_000, to / 1_000).reduce((a, b) => a + b, 0)
      all += sum
      if (each === id) own = sum
    }
    return own / all
  }
  // All but the dead one. While the other is ill, the fair share is larger, so these figures err to
  // the strict side.
  const healthy = 9
  const peak = Math.max(
    ...Array.from({ length: seconds - COLD_FROM / 1_000 }, (_, i) =>
      of('cold', COLD_FROM + i * 1_000, COLD_FROM + (i + 1) * 1_000),
    ),
  )
  const most = Math.max(0, ...probes.map((from, i) => probes.slice(i).filter((each) => each < from + 30_000).length))
  return {
    slowShareOfFair: of('slow', SLOW_FROM, SLOW_TO) * healthy,
    recoveredShareOfFairAfter5s: of('slow', SLOW_TO + 4_000, SLOW_TO + 5_000) * healthy,
    coldPeakShareOfFair: peak * healthy,
    deadFailedPercent: (100 * failed.dead) / total,
    deadProbesPer30s: most,
    illFailedPercent: (100 * failed.ill) / total,
    illShareOfFairAfter12s: of('ill', ILL_TO + 11_000, ILL_TO + 12_000) * healthy,
    success: (100 * (total - failed.all)) / total,
  }
}
