/**
 * `inmesh/testing` is a separate entry: production never loads it, and a test that wants only the
 * clock loads nothing else.
 */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** The modules that importing `entry` loads, in a fresh process. */
function loadedBy(entry: string): string[] {
  const program = `
    import { registerHooks } from 'node:module'
    const urls = new Set()
    registerHooks({ resolve(specifier, context, next) { const found = next(specifier, context); urls.add(found.url); return found } })
    await import('${new URL(entry, import.meta.url).href}')
    console.log(JSON.stringify([...urls]))`
  const child = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  if (child.status !== 0) throw new Error(child.stderr)
  return JSON.parse(child.stdout)
}

test.each([
  '../../src/index.ts',
  '../../src/mesh/open-mesh.ts',
  '../../src/resilience/index.ts',
  '../../src/cli/program.ts',
])('%s loads neither the testing room nor what simulates', (entry) => {
  const loaded = loadedBy(entry)
  expect(loaded.length).toBeGreaterThan(1)
  expect(loaded.filter((url) => /\/src\/(?:testing|simulator\/(?!scenario\.ts))/.test(url))).toEqual([])
})

test('importing the testing room loads neither a registry, a mesh nor any package, only their errors', () => {
  const loaded = loadedBy('../../src/testing/index.ts')
  expect(loaded.some((url) => url.endsWith('/src/testing/test-mesh.ts'))).toBe(true)
  const foreign = loaded.filter((url) => /\/src\/(registry|mesh|client|discovery)\/|node_modules/.test(url))
  expect(foreign.map((url) => url.split('/src/').at(-1)).sort()).toEqual([
    'registry/api/error.ts',
    'registry/storage/errors.ts',
  ])
})
