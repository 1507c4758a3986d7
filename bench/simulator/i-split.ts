/**
 * (i) A split of 90 to 10 while instances of both targets come, go and die: 10,000 calls in 10 s.
 * The weights hold at any moment, and no target is starved.
 */

import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { type Placed, RoutedClient } from '../../src/simulator/routed-client.ts'
import { answersAfter, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const CALLS = 10_000
const PER_SECOND = 1_000
const LENGTH_MS = (CALLS / PER_SECOND) * 1_000
const GREEN = 0.1
/** Every such time an instance of a target leaves or dies, and another one takes its place. */
const CHURN_MS = 150
const DOCUMENT = {
  service: 'inventory',
  subsets: { blue: { version: 'v1' }, green: { version: 'v2' } },
  routes: [
    {
      name: 'all',
      split: [
        { to: 'blue', weight: 90 },
        { to: 'green', weight: 10 },
      ],
    },
  ],
} as const

export interface Split {
  readonly calls: number
  readonly lost: number
  /** Answered by an instance of another target than the one chosen. */
  readonly strayed: number
  readonly greenShare: number
  /** The most calls by which green was ever off its exact share. */
  readonly mostOff: number
  /** The longest run of calls without one for green. */
  readonly longestWithout: number
  readonly changes: number
}

export function splitUnderChurn(seed: number): Split {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const client = new RoutedClient(clock)
  let made = 0
  const instance = (version: string): Placed => ({
    id: `${version}-${made++}`,
    version,
    server: new SimulatedServer({ clock, handler: answersAfter(clock, () => chance.normal(5, 1)) }),
  })
  let placed: readonly Placed[] = [...Array.from({ length: 5 }, () => instance('v1')), instance('v2'), instance('v2')]
  client.configure(DOCUMENT)
  client.use('inventory', placed)

  let changes = 0
  const churn = (): void => {
    changes += 1
    const version = chance.happens(0.5) ? 'v1' : 'v2'
    const leaving = chance.oneOf(placed.filter((each) => each.version === version))
    const next = [...placed.filter((each) => each !== leaving), instance(version)]
    placed = next
    // Half of them die first, and discovery learns of it later.
    const dies = chance.happens(0.5)
    if (dies) client.replace(leaving.id, undefined)
    at(clock, clock.now() + (dies ? CHURN_MS / 3 : 0), () => client.use('inventory', next))
  }
  for (let i = 1; i * CHURN_MS < LENGTH_MS; i++) at(clock, i * CHURN_MS, churn)

  let [calls, lost, strayed, green, mostOff, without, longestWithout] = [0, 0, 0, 0, 0, 0, 0]
  const send = (): void => {
    if (calls === CALLS) return
    calls += 1
    const target = client.send('inventory', (call, ended) => {
      if (ended.verdict !== 'success') lost += 1
      if ((call.endpoint?.version === 'v2') !== (target === 'green')) strayed += 1
    })
    if (target === 'green') {
      green += 1
      without = 0
    } else without += 1
    mostOff = Math.max(mostOff, Math.abs(green - calls * GREEN))
    longestWithout = Math.max(longestWithout, without)
  }
  offer(clock, chance, () => PER_SECOND, 2 * LENGTH_MS, send)
  clock.advance(2 * LENGTH_MS)
  client.close()
  return { calls, lost, strayed, greenShare: green / calls, mostOff, longestWithout, changes }
}
