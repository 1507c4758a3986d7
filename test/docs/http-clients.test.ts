/** docs/http-clients.md: each block calls a service of a real mesh, as it stands on the page. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Mesh, meshErrorOf } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Page } from './page.ts'

const blocks = new Page('http-clients.md').blocks.filter(({ language }) => language === 'ts')
const IMPORT = /^import (?:(\w+)|\{([^}]*)\}) from '([^']+)'$/gm
const AsyncFunction = (async () => {}).constructor as new (...given: string[]) => (...given: unknown[]) => Promise<void>

let testMesh: TestMesh
let mesh: Mesh
let calls: string[] = []
beforeAll(async () => {
  testMesh = await startTestMesh()
  await testMesh.serve('inventory', (request, response) => {
    calls.push(`${request.method} ${request.url}`)
    response.setHeader('content-type', 'application/json').end('{"name":"chair"}')
  })
  mesh = await testMesh.join('checkout')
})
afterAll(() => testMesh.close())

/** What the block prints. */
async function run(text: string): Promise<unknown[]> {
  const body = text.replace(IMPORT, (_line, whole, names, from) => {
    const module = from === 'inmesh' ? 'inmesh' : `(await load('${from}'))`
    return `const ${whole ?? `{${names}}`} = ${module}${whole === undefined ? '' : '.default'}`
  })
  const printed: unknown[] = []
  const block = new AsyncFunction('mesh', 'load', 'inmesh', 'console', body)
  await block(mesh, (name: string) => import(name), { meshErrorOf }, { log: (value: unknown) => printed.push(value) })
  return printed
}

describe('the page about HTTP clients', () => {
  test.each(blocks.slice(0, -1).map(({ line, text }) => ({ line, text })))(
    'has a block that calls the service: line $line',
    async ({ text }) => {
      calls = []
      expect(await run(text)).toEqual([{ name: 'chair' }])
      expect(calls).toEqual(['GET /items/42'])
    },
  )

  test('has a block that finds the error of the mesh', async () => {
    expect(blocks.length).toBeGreaterThan(9)
    expect(await run(blocks.at(-1)!.text)).toEqual(['deadline-exceeded'])
  })
})
