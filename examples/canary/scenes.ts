/** What an operator does while the traffic runs, and what must then hold. */
import { type Tally, USERS } from './traffic.ts'

/** Copies of calls, from the gateway's metrics. */
export interface Copies {
  readonly answered: number
  readonly dropped: number
}

/** One scene as it ended. */
export interface Seen {
  readonly tally: Tally
  /** Of this scene alone. */
  readonly copies: Copies
  /** Users on green at the end of the scene before. */
  readonly before: readonly number[]
  readonly seconds: number
}

export interface Scene {
  readonly name: string
  /**
   * The arguments of `inmesh` by which the scene begins; none: it begins at once. `before`: the
   * version of the document before the one in force.
   */
  readonly command?: (before: number) => readonly string[]
  /** Green gives copies no answer. */
  readonly hang?: boolean
  /** The first thing that does not hold. */
  check(seen: Seen): string | undefined
}

/** Whether `command` is one of `inmesh split` for the canary. */
function canary(percent: number, least: number, most: number): Scene {
  return {
    name: `sticky canary: ${percent} % of users`,
    command: () => ['split', 'inventory', 'item-pages', `green=${percent}`],
    check({ tally, before }) {
      const green = tally.usersOn('green')
      const back = before.filter((user) => !green.includes(user))
      if (tally.torn > 0) return `${tally.torn} users saw both sides`
      if (back.length > 0) return `${back.length} users left green again`
      const share = (100 * green.length) / USERS
      return share < least || share > most ? `${Math.round(share)} % of users are on green` : undefined
    },
  }
}

export const SCENES: readonly Scene[] = [
  {
    name: 'all on blue, quotes copied to green',
    check({ tally, copies }) {
      if (tally.shareOf('items', 'green') + tally.shareOf('rest', 'green') > 0) return 'green answered calls'
      if (tally.answers.quotes.green > 0) return 'a copy answered a call'
      return copies.answered === 0 ? 'no copy was answered' : undefined
    },
  },
  {
    name: 'the mirror hangs',
    hang: true,
    check({ tally, copies, seconds }) {
      if (tally.shareOf('quotes', 'blue') !== 100) return 'not all quotes came from blue'
      // 64 are in flight after less than a second.
      return seconds >= 1 && copies.dropped === 0 ? 'copies piled up' : undefined
    },
  },
  canary(10, 1, 25),
  canary(50, 30, 70),
  canary(100, 100, 100),
  {
    name: 'switch the rest to green at once',
    command: () => ['switch', 'inventory', 'green', '--route', 'rest'],
    check({ tally }) {
      return tally.shareOf('rest', 'green') === 100 ? undefined : 'blue still answers the rest'
    },
  },
  {
    name: 'roll back',
    command: (before) => ['rollback', 'inventory', '--to', `${before}`],
    check({ tally, before }) {
      if (tally.shareOf('rest', 'blue') !== 100) return 'green still answers the rest'
      return tally.usersOn('green').length === before.length ? undefined : 'the canary was rolled back, too'
    },
  },
]
