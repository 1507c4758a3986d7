/**
 * `npm run fuzz -- [--count 100000] [--seed n] [--listener name]`: exits with 1 if an error was not
 * caught, or if a callback took over 100 ms of CPU. Turns, which sum up the callbacks of 32
 * connections, and garbage collections are reported beside it. `mux-engine-server` and
 * `mux-engine-client` are the ends of `inmesh/1` without sockets.
 */
import { parseArgs } from 'node:util'
import { fuzzAll } from './fuzz.ts'
import { LISTENERS, type ListenerName } from './listeners.ts'
import { type EngineSide, fuzzEngine } from './mux-engine.ts'

const LONGEST_MS = 100
const ENGINES: Readonly<Record<string, EngineSide>> = { 'mux-engine-server': 'server', 'mux-engine-client': 'client' }

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    listener: { type: 'string', multiple: true },
  },
})
const all: readonly string[] = [...Object.keys(ENGINES), ...LISTENERS]
const chosen = values.listener ?? all
const unknown = chosen.find((name) => !all.includes(name))
if (unknown !== undefined) throw new Error(`--listener: expected one of ${all.join(', ')}, got '${unknown}'`)
const [count, seed] = [Number(values.count), Number(values.seed)]
let bad = 0

function report(result: { uncaught: readonly string[]; callbackMs: number; exit?: string | undefined }): void {
  const { uncaught, exit, callbackMs } = result
  if (uncaught.length > 0 || exit !== undefined || callbackMs > LONGEST_MS) bad += 1
  const round = (_key: string, value: unknown) => (typeof value === 'number' ? Math.round(value) : value)
  console.log(JSON.stringify({ ...result, uncaught: uncaught.length }, round))
  for (const error of new Set(uncaught)) console.log(error)
}

for (const [name, side] of Object.entries(ENGINES)) {
  if (chosen.includes(name)) report(await fuzzEngine(side, count, seed))
}
const listeners = LISTENERS.filter((name) => chosen.includes(name)) as ListenerName[]
if (listeners.length > 0) await fuzzAll(count, seed, report, listeners)
process.exit(bad === 0 ? 0 : 1)
