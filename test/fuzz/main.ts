/**
 * `npm run fuzz -- [--count 100000] [--seed n] [--listener name]`: ends with 1 if anything was not
 * caught or blocked the loop.
 */
import { parseArgs } from 'node:util'
import { fuzzAll } from './fuzz.ts'
import { LISTENERS, type ListenerName } from './listeners.ts'

const LONGEST_TURN_MS = 100

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    listener: { type: 'string', multiple: true },
  },
})
const only = (values.listener ?? LISTENERS) as readonly ListenerName[]
const unknown = only.find((name) => !LISTENERS.includes(name))
if (unknown !== undefined) throw new Error(`--listener: expected one of ${LISTENERS.join(', ')}, got '${unknown}'`)
let bad = 0
await fuzzAll(
  Number(values.count),
  Number(values.seed),
  ({ uncaught, blockedMs, exit, ...rest }) => {
    if (uncaught.length > 0 || exit !== undefined || blockedMs > LONGEST_TURN_MS) bad += 1
    console.log(JSON.stringify({ ...rest, blockedMs: Math.round(blockedMs), uncaught: uncaught.length, exit }))
    for (const error of new Set(uncaught)) console.log(error)
  },
  only,
)
process.exit(bad === 0 ? 0 : 1)
