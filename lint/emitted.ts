/** Checks that each documented event and metric is emitted somewhere in `src/`. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join('src', name), 'utf8'))
  .join('\n')

function documented(path: string, row: RegExp): string[] {
  return [...readFileSync(path, 'utf8').matchAll(row)].map((match) => match[1]!)
}

/** Metrics of both sides are named by a template. */
function isEmitted(metric: string): boolean {
  const bySide = metric.replace(/_(?:client|server)_/, '_\x24{side}_')
  return source.includes(`'${metric}'`) || source.includes(`\`${bySide}\``)
}

const events = documented('docs/events.md', /^\| `inmesh:([a-z:-]+)` \|/gm)
const metrics = documented('docs/metrics.md', /^\| `(inmesh_\w+)` \|/gm)
const missing = [
  ...events.filter((name) => !new RegExp(`\\bemit\\(\\s*'${name}'`).test(source)).map((name) => `event inmesh:${name}`),
  ...metrics.filter((name) => !isEmitted(name)).map((name) => `metric ${name}`),
]
for (const name of missing) console.error(`${name} is documented, and nothing in src/ emits it`)
if (events.length === 0 || metrics.length === 0) console.error('no documented events or metrics were found')
if (missing.length > 0 || events.length === 0 || metrics.length === 0) process.exitCode = 1
