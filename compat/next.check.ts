import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { joinMesh } from '../src/index.ts'
import { startRegistry } from '../src/registry/index.ts'
import { startTestMesh, type TestMesh } from '../src/testing/index.ts'
import { Project, type Running } from './project.ts'

const NEXT = 'node_modules/next/dist/bin/next'
const BUILD = { NEXT_TELEMETRY_DISABLED: '1', INMESH_STATE_DIR: 'memory' }

/** A build takes half a minute; only a busy machine needs this. */
const LONG_MS = 600_000

let testMesh: TestMesh
let project: Project
let asked = 0

/** Routes that the example does not have. */
const ROUTES = {
  'app/edge/route.ts': `
import { mesh } from '../../lib/mesh'
export const runtime = 'edge'
export async function GET(): Promise<Response> {
  return (await mesh()).fetch('http://inventory/items')
}
`,
  'app/cached/route.ts': `
import { setGlobalDispatcher } from 'undici'
import { mesh } from '../../lib/mesh'
export async function GET(): Promise<Response> {
  setGlobalDispatcher((await mesh()).dispatcher())
  const answer = await fetch('http://inventory.mesh/items', { next: { revalidate: 3_600 } })
  return Response.json(await answer.json())
}
`,
}

beforeAll(async () => {
  testMesh = await startTestMesh()
  await testMesh.serve('inventory', (request, response) => {
    asked += 1
    const left = { sku: request.url!.split('/').at(-1), left: 7 }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/items' ? [{ sku: 'apple', left: 7 }] : left))
  })
  project = await Project.install('examples/next')
}, 600_000)
afterAll(async () => {
  project?.remove()
  await testMesh?.close()
})

function write(path: string, text: string): void {
  mkdirSync(dirname(join(project.path, path)), { recursive: true })
  writeFileSync(join(project.path, path), text)
}

/** Changes a file of the project until `work` has ended. */
async function changed<T>(path: string, change: (text: string) => string, work: () => Promise<T>): Promise<T> {
  const text = readFileSync(join(project.path, path), 'utf8')
  write(path, change(text))
  try {
    return await work()
  } finally {
    write(path, text)
  }
}

async function started(args: readonly string[], env: NodeJS.ProcessEnv): Promise<[Running, string]> {
  const running = project.start(args, { ...BUILD, INMESH_REGISTRY: testMesh.registry.url, ...env })
  const [, port] = await running.printed(/(?:localhost:|serves on )(\d+)/)
  return [running, `http://127.0.0.1:${port}`]
}

async function text(url: string): Promise<string> {
  return (await fetch(url)).text()
}

test(
  'a page that would call the mesh when it is built says how to make it dynamic',
  async () => {
    const build = () => project.run('npm', ['run', 'build'], { ...BUILD, INMESH_REGISTRY: testMesh.registry.url })
    const before = testMesh.registry.counts.sessions
    const failing = changed('app/page.tsx', (page) => page.replace('await connection()', 'void connection'), build)
    await expect(failing).rejects.toThrow("'next build' renders a page or route that joins the mesh as web")
    expect(testMesh.registry.counts.sessions).toBe(before)
  },
  LONG_MS,
)

test(
  'the build does not join, and `next start` joins once for pages, routes and the patched fetch',
  async () => {
    for (const [path, route] of Object.entries(ROUTES)) write(path, route)
    // The build before has checked the types.
    const config = "export default { serverExternalPackages: ['inmesh'], typescript: { ignoreBuildErrors: true } }"
    write('next.config.ts', config)
    await project.run('npm', ['run', 'build'], { ...BUILD, INMESH_REGISTRY: 'https://127.0.0.1:1' })
    const before = testMesh.registry.counts.sessions
    const [running, url] = await started([NEXT, 'start', '-p', '0'], {})
    await running.printed(/Ready/)
    expect(await text(url)).toContain('apple: 7 left')
    expect(await text(`${url}/items/pear`)).toBe('{"sku":"pear","left":7}')
    expect(testMesh.registry.counts.sessions).toBe(before + 1)

    await text(`${url}/cached`)
    const until = asked
    for (let i = 0; i < 3; i++) expect(await text(`${url}/cached`)).toBe('[{"sku":"apple","left":7}]')
    expect(asked).toBe(until)

    expect((await fetch(`${url}/edge`)).status).toBe(500)
    await running.printed(/inmesh needs Node\.js, and this code was built for an edge runtime/)
    await running.end('SIGTERM')
    await expect.poll(() => testMesh.registry.counts.sessions).toBe(before)
  },
  LONG_MS,
)

test(
  '`next start` without a registry answers once there is one, and ends if the registry refuses it',
  async () => {
    const before = await startRegistry({ port: 0, memory: true, dev: true, log: false })
    const { port, url: registry } = before
    await before.close()
    const [running, url] = await started([NEXT, 'start', '-p', '0'], { INMESH_REGISTRY: registry })
    await running.printed(/Ready/)
    expect((await fetch(url)).status).toBe(500)
    const back = await startRegistry({ port, memory: true, dev: true, log: false })
    const options = { registry, stateDir: 'memory', handleSignals: false }
    const inventory = await joinMesh({ ...options, service: 'inventory' })
    await inventory.serve((_request, response) => response.end('[{"sku":"apple","left":7}]'))
    await expect.poll(() => text(url), { timeout: 60_000 }).toContain('apple: 7 left')
    await running.end('SIGTERM')
    await inventory.close()
    await back.close()

    const token = 'inmesh-join.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBB'
    const [refused] = await started([NEXT, 'start', '-p', '0'], { INMESH_JOIN_TOKEN: token })
    await refused.printed(/join-refused/)
    expect(await refused.ended).toEqual([1, null])
  },
  LONG_MS,
)

test('a custom server serves the pages in the mesh, and SIGTERM drains it', async () => {
  const [running, url] = await started(['server.ts'], { NODE_ENV: 'production', PORT: '0' })
  const checkout = await testMesh.join('checkout')
  expect(await (await checkout.fetch('http://web/items/kiwi')).json()).toEqual({ sku: 'kiwi', left: 7 })
  expect(await (await checkout.fetch('http://web/')).text()).toContain('apple: 7 left')
  // A browser has no certificate.
  expect(await text(url)).toContain('apple: 7 left')
  expect(await running.end('SIGTERM')).toEqual([0, null])
})

test(
  'modules that development reloads find the same mesh',
  async () => {
    const before = testMesh.registry.counts.sessions
    const [running, url] = await started([NEXT, 'dev', '-p', '0'], {})
    await running.printed(/Ready/)
    expect(await text(url)).toContain('apple: 7 left')
    for (const mark of ['!', '!!']) {
      const change = (source: string): string => source.replace('left`', `left${mark}\``)
      await changed('app/page.tsx', change, async () => {
        await changed(
          'lib/mesh.ts',
          (source) => `${source}// ${mark}\n`,
          async () => {
            await expect.poll(() => text(url), { timeout: 60_000 }).toContain(`apple: 7 left${mark}`)
            expect(await text(`${url}/items/pear`)).toBe('{"sku":"pear","left":7}')
          },
        )
      })
    }
    expect(testMesh.registry.counts.sessions).toBe(before + 1)
    await running.end('SIGTERM')
  },
  LONG_MS,
)
