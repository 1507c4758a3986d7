/**
 * `npm run test:matrix -- [typescript] [jest] [bundlers] [opentelemetry] [node]`: the packed package
 * with what its users run. One line a cell; the exit code is 1 if one fails.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { install, type Part, type Project } from './rig.ts'

const ROOT = join(import.meta.dirname, '..')
const PARTS = ['typescript', 'jest', 'bundlers', 'opentelemetry', 'node'] as const

const { positionals } = parseArgs({ allowPositionals: true })
const unknown = positionals.filter((name) => !PARTS.some((part) => part === name))
if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: valid parts are ${PARTS.join(', ')}`)
const parts = positionals.length > 0 ? positionals : PARTS

const packed = mkdtempSync(join(tmpdir(), 'inmesh-packed-'))
const began = performance.now()
let failed = 0
let passed = 0

try {
  const tarball = pack(packed)
  for (const part of parts) {
    const { default: cellsOf } = (await import(`./${part}/cells.mts`)) as {
      default: (project: Project, tarball: string) => Part
    }
    const project = await attempt(part, 'install', () => install(part, tarball))
    if (project === undefined) continue
    try {
      for (const { name, run } of cellsOf(project, tarball).cells) await attempt(part, name, run)
    } finally {
      rmSync(project.path, { recursive: true, force: true })
    }
  }
} finally {
  rmSync(packed, { recursive: true, force: true })
}

console.log(`${passed} passed, ${failed} failed, ${seconds(began)}`)
process.exitCode = failed === 0 ? 0 : 1

function pack(into: string): string {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', into]
  const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8' }))
  return join(into, filename)
}

async function attempt<T>(part: string, name: string, run: () => Promise<T>): Promise<T | undefined> {
  const start = performance.now()
  try {
    const result = await run()
    passed += 1
    console.log(`ok      ${part.padEnd(14)} ${name.padEnd(56)} ${seconds(start)}`)
    return result
  } catch (error) {
    failed += 1
    console.log(`FAILED  ${part.padEnd(14)} ${name.padEnd(56)} ${seconds(start)}`)
    console.log(error instanceof Error ? error.message : error)
    return undefined
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`
}
