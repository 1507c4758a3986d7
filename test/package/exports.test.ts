/** Every way into the package is there for ES modules, CommonJS, bundlers and Jest. */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { conditionsOf, ENTRIES } from '../../build/entries.ts'
import manifest from '../../package.json' with { type: 'json' }
import { VERSION } from '../../src/core/version.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Ways in that are no module of the library, with the reason. */
const OTHERS = new Map([
  ['./policy.schema.json', 'a file for editors'],
  ['./package.json', 'the manifest'],
  ['./auto', 'for `node --import`, never for a bundle or for Jest'],
])

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/commonjs'))) throw new Error("there is no dist: run 'npm run build' first")
})

/** What a program prints that Node runs inside the package, so that it finds it by its name. */
function run(program: string, ...flags: string[]): unknown {
  const args = [...flags, '--no-warnings', '--input-type=commonjs', '--eval', program]
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', timeout: 60_000 }))
}

/** Nest 12 is ES modules only; the copy is for Nest 11. */
const OF_MODULES_ONLY = /^inmesh\/nest/
const NAMES = ENTRIES.map(({ path }) => path.replace(/^[.]/, 'inmesh'))

describe('every way in', () => {
  it('names the conditions that it needs, in their order', () => {
    const modules = Object.entries(manifest.exports).filter(([path]) => !OTHERS.has(path))
    for (const [path, target] of modules) {
      const file = (target as { default: string }).default.replace(/^[.]\/dist\//, '').replace(/[.]js$/, '')
      expect(JSON.stringify({ [path]: target })).toBe(JSON.stringify({ [path]: conditionsOf(file) }))
    }
    expect(ENTRIES).toHaveLength(modules.length)
  })

  it('is built, with declarations', () => {
    const built = ENTRIES.flatMap(({ file }) => [
      `dist/${file}.js`,
      `dist/${file}.d.ts`,
      `dist/commonjs/${file}.cjs`,
      `dist/commonjs/${file}.d.cts`,
    ])
    expect(built.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
  })

  it('is there for the module resolution of node10', () => {
    const expected = ENTRIES.filter(({ path }) => path !== '.').map(({ path, file }) => [
      path.replace('./', ''),
      [`./dist/${file}.d.ts`],
    ])
    expect(manifest.typesVersions['*']).toEqual(Object.fromEntries(expected))
  })

  it('is one copy in Node, whether imported or required', () => {
    const program = `
      const names = ${JSON.stringify(NAMES)}
      Promise.all(names.map(async (name) => require(name) === await import(name)))
        .then((same) => console.log(JSON.stringify(same)))`
    expect(run(program)).toEqual(NAMES.map(() => true))
  })

  it('exports the same names from the CommonJS copy, where ES modules cannot be required', () => {
    const program = `
      const of = (module) => Object.keys(module).filter((key) => key !== '__esModule').sort()
      const names = ${JSON.stringify(NAMES.filter((name) => !OF_MODULES_ONLY.test(name)))}
      Promise.all(names.map(async (name) => [of(require(name)), of(await import(name))]))
        .then((pairs) => console.log(JSON.stringify(pairs)))`
    const pairs = run(program, '--no-experimental-require-module') as [string[], string[]][]
    for (const [copy, module] of pairs) expect(copy).toEqual(module)
    expect(pairs[0]![0]).toContain('joinMesh')
  })
})

it('the CommonJS copy has no import(), which Jest refuses', () => {
  const files = globSync('dist/commonjs/**/*.cjs', { cwd: ROOT })
  expect(files.length).toBeGreaterThan(ENTRIES.length)
  const importing = files.filter((file) => /(?<![.\w] ?|async )\bimport\(/.test(readFileSync(join(ROOT, file), 'utf8')))
  expect(importing).toEqual([])
})

it('the version is that of the manifest', () => {
  expect(VERSION).toBe(manifest.version)
})

it('what is imported for its effect alone is named as such', () => {
  const files = ENTRIES.filter(({ path }) => path.startsWith('./bundled')).map(({ file }) => `./dist/${file}.js`)
  expect(manifest.sideEffects).toEqual(expect.arrayContaining(files))
})
