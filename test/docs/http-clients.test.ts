/** docs/http-clients.md: each block calls a service of a real mesh, as it stands on the page. */
import { initTRPC } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { buildSchema, graphql } from 'graphql'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Mesh, meshErrorOf } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { javaScriptOf } from './compile.ts'
import { Page } from './page.ts'
import type { PlacedBlock } from './pages.ts'

const page = 'docs/http-clients.md'
/** Also those whose types cannot be checked. */
const blocks: PlacedBlock[] = new Page('http-clients.md').blocks
  .filter(({ language }) => language === 'ts')
  .map((block) => ({ ...block, page, place: `${page}:${block.line}`, before: undefined }))
const IMPORT = /^import (?:(\w+)|\{([^}]*)\}) from '([^']+)';?$/gm
const AsyncFunction = (async () => {}).constructor as new (...given: string[]) => (...given: unknown[]) => Promise<void>

const CHAIR = { name: 'chair' }
const { procedure, router } = initTRPC.create()
const item = procedure.input((id) => (id === '42' ? id : '')).query(({ input }) => (input === '42' ? CHAIR : undefined))
const trpc = createHTTPHandler({ router: router({ item }), basePath: '/trpc/' })
const schema = buildSchema('type Item { name: String } type Query { item(id: ID!): Item }')
const rootValue = { item: ({ id }: { id: string }) => (id === '42' ? CHAIR : null) }
/** By REST, tRPC and GraphQL. */
const ASKED = /^GET \/(?:items\/42$|trpc\/item\?batch=1&|graphql\?query=)/

let testMesh: TestMesh
let mesh: Mesh
let calls: string[] = []
beforeAll(async () => {
  testMesh = await startTestMesh()
  await testMesh.serve('inventory', async (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://inventory')
    calls.push(`${request.method} ${request.url}`)
    if (pathname.startsWith('/trpc/')) return trpc(request, response)
    const source = searchParams.get('query')
    const answer = source === null ? CHAIR : await graphql({ schema, rootValue, source })
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  })
  mesh = await testMesh.join('checkout')
  // The first block has little time, and a connection may take it.
  await mesh.fetch('http://inventory/')
})
afterAll(() => testMesh.close())

/** What the block prints. */
async function run(written: PlacedBlock): Promise<unknown[]> {
  const body = javaScriptOf(written).replace(IMPORT, (_line, whole, names, from) => {
    const module = from === 'inmesh' ? 'inmesh' : `(await load('${from}'))`
    return `const ${whole ?? `{${names}}`} = ${module}${whole === undefined ? '' : '.default'}`
  })
  const printed: unknown[] = []
  const block = new AsyncFunction('mesh', 'load', 'inmesh', 'console', body)
  await block(mesh, (name: string) => import(name), { meshErrorOf }, { log: (value: unknown) => printed.push(value) })
  return printed
}

describe('the page about HTTP clients', () => {
  test.each(blocks.slice(0, -1))('has a block that calls the service: line $line', async (block) => {
    calls = []
    expect(await run(block)).toMatchObject([CHAIR])
    expect(calls).toEqual([expect.stringMatching(ASKED)])
  })

  test('has a block that finds the error of the mesh', async () => {
    expect(blocks.length).toBeGreaterThan(14)
    expect(await run(blocks.at(-1)!)).toEqual(['deadline-exceeded'])
  })
})
