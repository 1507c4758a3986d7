/** What `npm install inmesh` brings along, by the lock file. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

interface Locked {
  readonly version?: string
  readonly dev?: boolean
  readonly hasInstallScript?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const ROOT = join(import.meta.dirname, '../..')
const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  packages: Readonly<Record<string, Locked>>
}

/** As Node finds `name` from the package at `from`. */
function locate(from: string, name: string): string {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (at === '') throw new Error(`${name}, which ${from} needs, is not in the lock file`)
  }
}

const tree = new Map<string, Locked>()
const open = ['']
for (let from = open.pop(); from !== undefined; from = open.pop()) {
  const { dependencies, optionalDependencies } = packages[from]!
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const path = locate(from, name)
    if (tree.has(path)) continue
    tree.set(path, packages[path]!)
    open.push(path)
  }
}
const names = [...tree.keys()].map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length))

it('is what package.json names, and what pino and p-retry need', () => {
  const ours = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).dependencies as Record<string, string>
  const ofPino = [
    ...['@pinojs/redact', 'atomic-sleep', 'on-exit-leak-free', 'pino-abstract-transport', 'pino-std-serializers'],
    ...['process-warning', 'quick-format-unescaped', 'real-require', 'safe-stable-stringify', 'sonic-boom'],
    ...['split2', 'thread-stream'],
  ]
  expect(names.sort()).toEqual([...Object.keys(ours), 'is-network-error', ...ofPino].sort())
})

it('runs no script of a package at its installation', () => {
  expect([...tree].filter(([, { hasInstallScript }]) => hasInstallScript === true)).toEqual([])
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
  expect(Object.keys(scripts)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(?:pre|post)?install$/)]))
})
