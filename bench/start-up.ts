/**
 * Measures start-up, importing the library and joining a mesh, against an empty process. `node
 * bench/start-up.ts [--quick] [--json]`, after `npm run build`.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { figure, type Options, type Report, round, runQuestions, type Target, withSubjects } from './harness.ts'
import { startRegistryProcess } from './testbed.ts'

interface Cost {
  readonly ms: number
  readonly mb: number
}

/** What is started, in turn. */
const CODE: Readonly<Record<string, string>> = {
  "import 'inmesh'": `await import('inmesh')`,
  "import 'inmesh/resilience'": `await import('inmesh/resilience')`,
  "import 'inmesh/auto'": `await import('inmesh/auto')`,
  "import 'undici'": `await import('undici')`,
  'await joinMesh()': `await (await import('inmesh')).joinMesh({ service: 'bench' })`,
}

/** Runs `code` in a fresh process and measures it from inside. */
async function costOf(code: string, env: NodeJS.ProcessEnv): Promise<Cost> {
  const script = `
    const at = performance.now(), rss = process.memoryUsage().rss
    ${code}
    console.log(JSON.stringify({ ms: performance.now() - at, mb: (process.memoryUsage().rss - rss) / 1e6 }))
    process.exit(0)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env })
  return JSON.parse(stdout) as Cost
}

export async function startUp({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const env = { ...process.env, INMESH_REGISTRY: registry.ready.url, INMESH_STATE_DIR: 'memory' }
    const costs = new Map<string, Cost[]>(Object.keys(CODE).map((what) => [what, []]))
    for (let run = 0; run < (quick ? 5 : 15); run++) {
      for (const [what, code] of Object.entries(CODE)) costs.get(what)!.push(await costOf(code, env))
    }
    const found = [...costs].map(([what, each]) => ({
      what,
      ms: figure(each.map(({ ms }) => ms)),
      mb: figure(each.map(({ mb }) => mb)),
    }))
    const { ms, mb } = found[0]!
    const targets: Target[] = [
      { what: "import 'inmesh', ms", found: ms, wanted: { atMost: 120 } },
      { what: "import 'inmesh', MB over an empty process", found: mb, wanted: { atMost: 30 } },
    ]
    return {
      title: 'What it costs to start',
      rows: found.map((one) => ({
        what: one.what,
        ms: round(one.ms.median, 1),
        'half within ms': `${round(one.ms.low, 1)} to ${round(one.ms.high, 1)}`,
        MB: round(one.mb.median, 1),
      })),
      targets,
      figures: { import: { ms: round(ms.median, 1), mb: round(mb.median, 1) } },
    }
  })
}

if (import.meta.main) await runQuestions([startUp])
