/**
 * `npm run fuzz -- [--count 100000] [--seed n] [--listener name]`: exits with 1 if an error was not
 * caught, or if a callback took over 100 ms of CPU. Turns, which sum up the callbacks of 32
 * connections, and garbage collections are reported beside it.
 */
import { parseArgs } from 'node:util'
import { fuzzAll } from './fuzz.ts'
import { LISTENERS, type ListenerName } from './listeners.ts'

const LONGEST_MS = 100

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
  ({ uncaught, exit, ...rest }) => {
    if (uncaught.length > 0 || exit !== undefined || rest.callbackMs > LONGEST_MS) bad += 1
    const round = (_key: string, value: unknown) => (typeof value === 'number' ? Math.round(value) : value)
    console.log(JSON.stringify({ ...rest, uncaught: uncaught.length, exit }, round))
    for (const error of new Set(uncaught)) console.log(error)
  },
  only,
)
process.exit(bad === 0 ? 0 : 1)
