/**
 * What it costs to start, each in a process of its own, over an empty process: importing the library, and joining a mesh. Median of
 * `--runs` (default 7). Run after `npm run build`; `--json` prints the figures as the last line.
 */
import { execFile } from 'node:child_process'
import { parseArgs, promisify } from 'node:util'
import { startRegistry } from 'inmesh/registry'

const { values } = parseArgs({ options: { json: { type: 'boolean' }, runs: { type: 'string', default: '7' } } })

interface Cost {
  readonly ms: number
  readonly mb: number
}

/** Runs `code` in a fresh process and measures it from inside. */
async function cost(code: string, env: NodeJS.ProcessEnv): Promise<Cost> {
  const script = `
    const at = performance.now(), rss = process.memoryUsage().rss
    ${code}
    console.log(JSON.stringify({ ms: performance.now() - at, mb: (process.memoryUsage().rss - rss) / 1e6 }))
    process.exit(0)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env })
  return JSON.parse(stdout) as Cost
}

async function median(code: string, env: NodeJS.ProcessEnv = process.env): Promise<Cost> {
  const costs: Cost[] = []
  for (let run = 0; run < Number(values.runs); run++) costs.push(await cost(code, env))
  const middle = (of: (each: Cost) => number): number =>
    costs.map(of).sort((a, b) => a - b)[Math.floor(costs.length / 2)]!
  return { ms: Math.round(middle(({ ms }) => ms)), mb: Math.round(middle(({ mb }) => mb) * 10) / 10 }
}

const registry = await startRegistry({ port: 0, dev: true, log: false })
const env = { ...process.env, INMESH_REGISTRY: registry.url, INMESH_STATE_DIR: 'memory' }
const join = `const { joinMesh } = await import('inmesh'); await joinMesh({ service: 'bench' })`
const figures = {
  import: await median(`await import('inmesh')`),
  resilience: await median(`await import('inmesh/resilience')`),
  undici: await median(`await import('undici')`),
  join: await median(join, env),
}
await registry.close()
for (const [what, { ms, mb }] of Object.entries(figures)) console.log(`${what.padEnd(12)} ${ms} ms  ${mb} MB`)
if (values.json) console.log(JSON.stringify(figures))
