import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
/** What an application has beside inmesh when it takes none of the optional peers. */
const INSTALLED = [
  'undici',
  'undici-types',
  'opossum',
  'p-retry',
  'is-network-error',
  'jose',
  'typescript',
  '@types/node',
]

const PROGRAM = `
import { currentCall, isMeshError, joinMesh, type Mesh, type MeshOptions } from 'inmesh'
import { startRegistry } from 'inmesh/registry'
import { circuits, guard } from 'inmesh/resilience'
import { FakeClock, startTestMesh } from 'inmesh/testing'

const options: MeshOptions = { service: 'a', stateDir: 'memory' }
const join: (options?: MeshOptions) => Promise<Mesh> = joinMesh
const quote: (sku: string) => Promise<number> = guard(async (sku: string) => sku.length, { timeout: '1s' })
console.log(join, options, quote, circuits(), currentCall()?.peer?.service, isMeshError(1), startRegistry, startTestMesh, FakeClock)
`

let project = ''

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/index.d.ts'))) throw new Error("there is no dist: run 'npm run build' first")
  project = mkdtempSync(join(tmpdir(), 'inmesh-consumer-'))
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, 'inmesh'), { recursive: true })
  // A copy, not a link: from inside a link, all packages of this repository would be found.
  for (const part of ['dist', 'package.json'])
    cpSync(join(ROOT, part), join(modules, 'inmesh', part), { recursive: true })
  mkdirSync(join(modules, '@types'))
  for (const name of INSTALLED) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  writeFileSync(join(project, 'program.ts'), PROGRAM)
})

afterAll(() => {
  rmSync(project, { recursive: true, force: true })
})

describe("an application's type check, without any optional peer and without skipLibCheck", () => {
  it.each([['nodenext'], ['preserve']])('passes with module %s', (module) => {
    const options = { module, target: 'es2023', lib: ['es2023', 'esnext.disposable'], types: ['node'], noEmit: true }
    const strict = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
    }
    const config = { compilerOptions: { ...options, ...strict }, files: ['program.ts'] }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config))
    let output = ''
    try {
      execFileSync(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '-p', project], {
        encoding: 'utf8',
      })
    } catch (error) {
      output = (error as { stdout: string }).stdout
    }
    expect(output).toBe('')
  })
})
