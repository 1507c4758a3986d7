/**
 * Checks that each documented event is emitted somewhere in `src/`. For metrics a test compares the
 * documentation with a scrape.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join('src', name), 'utf8'))
  .join('\n')

function documented(path: string, row: RegExp): string[] {
  return [...readFileSync(path, 'utf8').matchAll(row)].map((match) => match[1]!)
}

const events = documented('docs/events.md', /^\| `inmesh:([a-z:-]+)` \|/gm)
const missing = events.filter((name) => !new RegExp(`\\bemit\\(\\s*'${name}'`).test(source))
for (const name of missing) console.error(`event inmesh:${name} is documented, and nothing in src/ emits it`)
if (events.length === 0) console.error('no documented events were found')
if (missing.length > 0 || events.length === 0) process.exitCode = 1
