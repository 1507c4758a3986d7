/**
 * (k) Failover there and back: a caller in zone a, endpoints in zones a and b, and another service
 * behind them. Zone a dies endpoint by endpoint, zone b vanishes from discovery, and both return.
 */

import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { type Placed, RoutedClient } from '../../src/simulator/routed-client.ts'
import { answersAfter, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const PER_SECOND = 500
const LENGTH_MS = 110_000
const IN_ZONE = 5
const DOCUMENT = {
  service: 'inventory',
  failover: [{ zone: 'same' }, { zone: 'any' }, { service: 'inventory-eu' }],
} as const

export interface Failover {
  readonly calls: number
  readonly lost: number
  /** Share of the calls in each phase that zone a answered. */
  readonly whole: number
  readonly fourOfFive: number
  readonly twoOfFive: number
  /** Share of zone b while zone a is dead, and of the other service while b is gone, too. */
  readonly next: number
  readonly last: number
  /** Share of zone a when everything is back, and how long it took to be above 99 %. */
  readonly back: number
  readonly backAfterMs: number
}

/** What happens when. Endpoints that come back are found by probes: up to 10 s after. */
const PHASES = {
  whole: [0, 10_000],
  fourOfFive: [11_000, 20_000],
  twoOfFive: [21_000, 30_000],
  next: [31_000, 40_000],
  last: [41_000, 50_000],
  back: [90_000, LENGTH_MS],
} as const
const BACK_FROM_MS = 70_000

export function failoverThereAndBack(seed: number): Failover {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const client = new RoutedClient(clock, 'a')
  const server = () => new SimulatedServer({ clock, handler: answersAfter(clock, () => chance.normal(5, 1)) })
  const placed = (zone: string): Placed[] =>
    Array.from({ length: IN_ZONE }, (_, i) => ({ id: `${zone}-${i}`, zone, server: server() }))
  const [a, b, eu] = [placed('a'), placed('b'), placed('eu')] as const
  client.configure(DOCUMENT)
  client.use('inventory', [...a, ...b])
  client.use('inventory-eu', eu)

  const die = (instant: number, ...dead: readonly Placed[]): void =>
    at(clock, instant, () => {
      for (const { id } of dead) client.replace(id, undefined)
    })
  die(10_000, a[0]!)
  die(20_000, a[1]!, a[2]!)
  die(30_000, a[3]!, a[4]!)
  at(clock, 40_000, () =>
    client.use(
      'inventory',
      a.map((each) => ({ ...each, server: undefined })),
    ),
  )
  at(clock, 60_000, () => client.use('inventory', [...a.map((each) => ({ ...each, server: undefined })), ...b]))
  for (const [i, each] of a.entries()) at(clock, BACK_FROM_MS + i * 500, () => client.replace(each.id, each.server))

  let [calls, lost] = [0, 0]
  /** The zones that answered, by the second in which a call began. */
  const seconds = Array.from({ length: LENGTH_MS / 1_000 }, () => new Map<string, number>())
  offer(
    clock,
    chance,
    () => PER_SECOND,
    LENGTH_MS,
    () => {
      calls += 1
      const second = seconds[Math.floor(clock.now() / 1_000)]!
      client.send('inventory', (call, ended) => {
        if (ended.verdict !== 'success') lost += 1
        const zone = call.endpoint?.zone ?? 'none'
        second.set(zone, (second.get(zone) ?? 0) + 1)
      })
    },
  )
  clock.advance(LENGTH_MS + 20_000)
  client.close()

  const shareOf = (zone: string, from: number, until: number): number => {
    let [own, all] = [0, 0]
    for (const counts of seconds.slice(from / 1_000, until / 1_000)) {
      for (const [each, count] of counts) {
        all += count
        if (each === zone) own += count
      }
    }
    return own / all
  }
  const inPhase = (zone: string, phase: keyof typeof PHASES): number =>
    shareOf(zone, PHASES[phase][0], PHASES[phase][1])
  let backAt = BACK_FROM_MS
  while (backAt < LENGTH_MS && shareOf('a', backAt, backAt + 1_000) < 0.99) backAt += 1_000
  return {
    ...{ calls, lost },
    whole: inPhase('a', 'whole'),
    fourOfFive: inPhase('a', 'fourOfFive'),
    twoOfFive: inPhase('a', 'twoOfFive'),
    next: inPhase('b', 'next'),
    last: inPhase('eu', 'last'),
    back: inPhase('a', 'back'),
    backAfterMs: backAt - BACK_FROM_MS,
  }
}
