/**
 * `npm run simulate`: the real policies on a fake clock, in scenarios (a) to (q), and worlds full
 * of random faults. No timed test: a seed repeats a run exactly. `--json` prints all figures as the
 * last line instead of the tables.
 */
import { parseArgs } from 'node:util'
import { invariants } from './invariants.ts'
import { mean } from './mean.ts'
import { figuresQ } from './mixed-report.ts'
import {
  figuresA,
  figuresB,
  figuresC,
  figuresD,
  figuresE,
  figuresF,
  figuresG,
  figuresH,
  figuresI,
  figuresJ,
  figuresK,
  figuresL,
  figuresM,
} from './report.ts'
import { table } from './table.ts'
import { figuresN, figuresO, figuresP } from './troubles-report.ts'

const USAGE = `npm run simulate -- [--seed N[-M]] [--seeds N] [--only abcdefghijklmnopq] [--json]

  --seed N     repeats a run exactly (default 1)
  --seed N-M   the means over these seeds
  --seeds N    how many random worlds are checked for broken invariants (default 2000; 0: none)
  --only abc   only these scenarios, and no random worlds unless --seeds is given
  --json       the figures as the last line instead of tables`

const TITLES = {
  a: '(a) 11 endpoints at 167 ms, 1,000/s for 60 s, one at 2 s from second 15 to 45; failed after 1 s. Success in percent (99.973 at best)',
  b: '(b) 10 endpoints: one 10 times slower for 30 s, one cold, one dead, one ill for 15 s. Shares of the fair share',
  c: '(c) 5 endpoints, one answers 500 or 429 in 1 ms. Its share',
  d: '(d) three tiers above one that fails 100 %. Load at the bottom over the offered load',
  e: '(e) 70 % of capacity, 3 s of 250 %, 70 %. Goodput in percent',
  f: '(f) three times what the server can do. Goodput over capacity',
  g: '(g) nothing is wrong: 10 instances at 80 %, one call in ten takes 60 ms, the others 5',
  h: '(h) three instances, one is dead or leaves in order. Calls lost of a burst',
  i: '(i) a split of 90 to 10 while instances come, go and die. Calls off the exact share',
  j: '(j) 500 users of a sticky split over 1,000 changes of weights. Moves to what gained nothing',
  k: '(k) failover from a zone to the next and to another service, and back. Shares of the calls',
  l: '(l) fleets of many clients and servers, each client with a view of its own; nothing is retried',
  m: '(m) 40 random fleets with random faults. Failed calls in percent, and p99 over that without faults',
  n: '(n) nothing of ten servers can be reached for a while. After the first answer: calls failed, ms until all are in use',
  o: '(o) 20 servers at 70 %, some fail in part, no retries. Failed calls in percent, share of the fair share',
  p: '(p) zones of 2, 3 and 5 servers, 20 to 95 % of the capacity. Failed calls, shares that stay in the zone',
  q: '(q) fleets of several kinds of clients and servers: old, late and lying ones, and all at once; nothing is retried',
} as const

const SCENARIOS = {
  a: figuresA,
  b: figuresB,
  c: figuresC,
  d: figuresD,
  e: figuresE,
  f: figuresF,
  g: figuresG,
  h: figuresH,
  i: figuresI,
  j: figuresJ,
  k: figuresK,
  l: figuresL,
  m: figuresM,
  n: figuresN,
  o: figuresO,
  p: figuresP,
  q: figuresQ,
} as const
const LETTERS = Object.keys(SCENARIOS) as (keyof typeof SCENARIOS)[]

function whole(value: string, option: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 0)
    throw new Error(`--${option}: expected a whole number, got '${value}'`)
  return number
}

const MOST_SEEDS = 100

/** `3`, or `16-25`. */
function seedsOf(value: string): readonly number[] {
  const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(value) ?? []
  const from = Number(first)
  const count = Number(last) - from + 1
  if (!Number.isSafeInteger(from) || !(count >= 1 && count <= MOST_SEEDS)) {
    throw new Error(`--seed: expected a whole number, or at most ${MOST_SEEDS} as in 16-25, got '${value}'`)
  }
  return Array.from({ length: count }, (_, i) => from + i)
}

function main(): void {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string' },
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const seeds = seedsOf(values.seed)
  const worlds = whole(values.seeds ?? (values.only === undefined ? '2000' : '0'), 'seeds')
  const wanted = values.only ?? LETTERS.join('')
  if ([...wanted].some((letter) => !(letter in SCENARIOS))) {
    throw new Error(`--only: expected letters of ${LETTERS.join('')}, got '${wanted}'`)
  }
  const figures: Record<string, unknown> = {}
  for (const key of LETTERS) {
    if (!wanted.includes(key)) continue
    const results = seeds.map((seed) => SCENARIOS[key](seed))
    figures[key] = mean(results.map((each) => each.figures))
    if (!values.json) console.log(table(TITLES[key], mean(results.map((each): readonly object[] => each.rows))))
  }
  if (worlds > 0) {
    const { examples, ...counts } = invariants(seeds[0]!, worlds)
    figures.invariants = counts
    if (!values.json) console.log(`invariants: ${counts.broken} of ${worlds} random worlds broken`)
    for (const example of examples) console.error(`  seed ${example}`)
    if (counts.broken > 0) process.exitCode = 1
  }
  if (values.json) console.log(JSON.stringify(figures))
}

try {
  main()
} catch (error) {
  console.error((error as Error).message)
  console.error(USAGE)
  process.exitCode = 2
}
