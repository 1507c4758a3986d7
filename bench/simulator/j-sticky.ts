/**
 * (j) 500 users of three sticky targets, over 1,000 changes of the weights. A user moves only to a
 * target that gained weight against the one that the user leaves.
 */

import { Chance } from '../../src/simulator/chance.ts'
import { RoutedClient } from '../../src/simulator/routed-client.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const USERS = 500
const CHANGES = 1_000
const TARGETS = ['blue', 'green', 'red'] as const

export interface Sticky {
  readonly changes: number
  readonly moves: number
  /** Moves to a target that gained nothing against the one left; none is allowed. */
  readonly wrongMoves: number
  /** Users on another side than another process would choose; none is allowed. */
  readonly disagreements: number
  /** How far the users of a target were ever from its share, in parts of all users. */
  readonly mostOff: number
}

export function stickyOverChanges(seed: number): Sticky {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const [client, other] = [new RoutedClient(clock), new RoutedClient(clock)]
  for (const each of [client, other]) each.use('inventory', [])
  const weights = new Map<string, number>(TARGETS.map((target) => [target, 100]))
  const configure = (): void => {
    const split = TARGETS.map((to) => ({ to, weight: weights.get(to)! }))
    const document = {
      service: 'inventory',
      subsets: { blue: { version: 'v1' }, green: { version: 'v2' }, red: { version: 'v3' } },
      routes: [{ name: 'all', split, sticky: { header: 'x-user' } }],
    }
    for (const each of [client, other]) each.configure(document)
  }
  const sideOf = (user: number, by = client): string => by.targetOf('inventory', { 'x-user': `user-${user}` })
  configure()
  const sides = Array.from({ length: USERS }, (_, user) => sideOf(user))
  let [moves, wrongMoves, disagreements, mostOff] = [0, 0, 0, 0]
  for (let change = 0; change < CHANGES; change++) {
    const before = new Map(weights)
    weights.set(chance.oneOf(TARGETS), chance.integer(0, 300))
    // Not all of them 0: such a document is refused.
    if ([...weights.values()].every((weight) => weight === 0)) weights.set('blue', 1)
    configure()
    const counts = new Map<string, number>()
    for (let user = 0; user < USERS; user++) {
      const side = sideOf(user)
      counts.set(side, (counts.get(side) ?? 0) + 1)
      if (user % 50 === 0 && sideOf(user, other) !== side) disagreements += 1
      const left = sides[user]!
      if (side === left) continue
      moves += 1
      sides[user] = side
      const gained = weights.get(side)! * before.get(left)! > before.get(side)! * weights.get(left)!
      if (!gained) wrongMoves += 1
    }
    const total = TARGETS.reduce((sum, target) => sum + weights.get(target)!, 0)
    for (const target of TARGETS) {
      mostOff = Math.max(mostOff, Math.abs((counts.get(target) ?? 0) / USERS - weights.get(target)! / total))
    }
  }
  for (const each of [client, other]) each.close()
  return { changes: CHANGES, moves, wrongMoves, disagreements, mostOff }
}
