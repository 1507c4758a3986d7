/** Programs that know nothing of a mesh, in separate processes under `inmesh/auto`. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { joinMesh, type Mesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { freePort } from '../rigs/free-ports.ts'
import { PROTO, Program, programPath } from './rig.ts'

interface Ports {
  readonly http: number
  readonly grpc: number
}

let registry: Registry
let mesh: Mesh
const programs: Program[] = []

beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, dev: true, log: false, joinsPerSecond: 1_000 })
  mesh = await joinMesh({
    service: 'tester',
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    joinTimeout: '30s',
  })
})

afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.kill()))
})

afterAll(async () => {
  await mesh.close()
  await registry.close()
})

function start(service: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}): Program {
  const program = new Program(args, {
    INMESH_SERVICE: service,
    INMESH_REGISTRY: registry.url,
    INMESH_STATE_DIR: 'memory',
    INMESH_AUTO_REPORT: 'true',
    ...environment,
  })
  programs.push(program)
  return program
}

/** A server that the mesh lists. */
async function startServer(service: string, ...args: string[]): Promise<{ program: Program; ports: Ports }> {
  const program = start(service, [programPath('server.cjs'), PROTO, ...args])
  const [ports] = await program.printed<Ports>(1)
  await program.complained(/serves HTTP[\s\S]*serves gRPC|serves gRPC[\s\S]*serves HTTP/)
  return { program, ports: ports! }
}

test('a server in CommonJS and a client in ESM are meshed unchanged, and other traffic is as it was', async () => {
  const { program, ports } = await startServer('inventory')
  const plain = `http://127.0.0.1:${ports.http}`
  const client = start('checkout', [programPath('client.mjs'), PROTO, plain], { INMESH_AUTO_SERVICES: 'inventory' })
  expect(await client.ended, client.complaints).toEqual({ code: 0, signal: null })
  const { pid } = program
  const meshed = (sku: string) => ({ sku, encrypted: true, pid })
  expect(client.lines).toEqual([
    { client: 'fetch', answer: meshed('1') },
    { client: 'elsewhere', answer: { sku: '2', encrypted: false, pid } },
    { client: 'undici', answer: meshed('3') },
    { client: 'undici of the application', answer: meshed('4') },
    { client: 'axios', answer: meshed('5') },
    { client: 'node:http', answer: meshed('6') },
    { client: 'grpc', answer: { left: 7 } },
    { client: 'nice-grpc', answer: { left: 7 } },
  ])
  expect(client.complaints).toContain('called through the mesh: inventory (fetch 3, http 2, gRPC 2)')
  expect(client.complaints).toMatch(/called outside the mesh: 127\.0\.0\.1 \(.*fetch 1\)/)
})

test('SIGTERM under load loses no call, and the process ends by the signal as without the mesh', async () => {
  const { program } = await startServer('stock')
  const inventory = mesh.http('stock')
  const failures: unknown[] = []
  let served = 0
  let loading = true
  const load = Array.from({ length: 8 }, async () => {
    while (loading) {
      try {
        const response = await inventory.get('/slow?ms=20', { timeout: '30s' })
        await response.text()
        served += 1
      } catch (error) {
        failures.push(error)
        return
      }
    }
  })
  await expect.poll(() => served).toBeGreaterThan(20)
  await startServer('stock')
  program.signal('SIGTERM')
  expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM' })
  const before = served
  await expect.poll(() => served).toBeGreaterThan(before + 20)
  loading = false
  await Promise.all(load)
  expect(failures).toEqual([])
})

test('a handler of SIGTERM runs after the drain, and the exit code is its own', async () => {
  const { program } = await startServer('prices', 'own-handler')
  const slow = mesh.http('prices').get('/slow?ms=500', { retry: false })
  expect((await program.printed(2))[1]).toEqual({ asked: '/slow?ms=500' })
  program.signal('SIGTERM')
  expect((await slow).status).toBe(200)
  expect(await program.ended).toEqual({ code: 7, signal: null })
  expect(program.lines.at(-1)).toEqual({ handling: true })
})

test('a program that starts before its registry says which one and why, and that it has joined later', async () => {
  const options = { memory: true, dev: true, log: false } as const
  const port = await freePort()
  const url = `https://127.0.0.1:${port}`
  const program = start('early', [programPath('server.cjs'), PROTO], { INMESH_REGISTRY: url })
  await program.complained(
    new RegExp(`early, process \\d+, has no answer from a registry yet \\(${url}\\), and .*ECONNREFUSED`),
  )
  const second = await startRegistry({ port, ...options })
  try {
    await program.complained(/early, process \d+, has joined the mesh/)
    expect(program.complaints.match(/no answer from a registry/g)).toHaveLength(1)
  } finally {
    await second.close()
  }
})

test('the timeouts of requests hold while no registry answers, and then the program ends', async () => {
  const away = { INMESH_REGISTRY: 'https://127.0.0.1:9', INMESH_AUTO_SERVICES: 'all' }
  const program = start('hasty', [programPath('hasty.mjs')], away)
  expect(await program.ended, program.complaints).toEqual({ code: 0, signal: null })
  // The error of the mesh comes a moment before the timer, unless the process is still joining.
  const late = expect.stringMatching(/^slow$|no registry answers/)
  expect(program.lines).toEqual([
    { client: 'node:http', error: late },
    { client: 'fetch', error: 'TimeoutError' },
    { client: 'node:http to a host that may be a service', error: late },
    { client: 'the library was loaded within the first call', error: true },
  ])
})

test('startWithoutRegistry keeps no process alive', async () => {
  const library = new URL('../../src/index.ts', import.meta.url).href
  const code = `import('${library}')
    .then(({ joinMesh }) => joinMesh({ startWithoutRegistry: true, joinTimeout: '100ms' }))
    .then(({ state }) => console.log(JSON.stringify({ state })))`
  const program = start('alone', ['-e', code], { INMESH_AUTO: 'false', INMESH_REGISTRY: 'https://127.0.0.1:9' })
  expect(await program.ended, program.complaints).toEqual({ code: 0, signal: null })
  expect(program.lines).toEqual([{ state: 'starting' }])
})

test('joinOnce gives the mesh that the process is in', async () => {
  const library = new URL('../../src/index.ts', import.meta.url).href
  const code = `
    const server = require('node:http').createServer((request, response) => response.end('ok'))
    server.listen(0, '127.0.0.1', async () => {
      const { joinOnce } = await import('${library}')
      const options = { service: 'mixed', zone: 'b', handleSignals: false }
      const [first, second] = await Promise.all([joinOnce(options), joinOnce(options)])
      const other = await joinOnce({ service: 'another' }).catch(String)
      console.log(JSON.stringify({ state: first.state, same: first === second, other }))
    })`
  const program = start('mixed', ['-e', code])
  const [line] = await program.printed(1)
  expect(line).toMatchObject({ state: 'ready', same: true, other: expect.stringContaining("has joined as 'mixed'") })
  await program.complained(/serves HTTP/)
  expect(await mesh.instancesOf('mixed', 10_000)).toHaveLength(1)
  expect(program.complaints).not.toMatch(/twice|changed options/)
})

test('a program that needs no mesh joins none, also with two --import, and ends as it did', async () => {
  const own = new URL('../../src/auto/index.ts', import.meta.url).href
  const none = { INMESH_REGISTRY: 'https://127.0.0.1:9' }
  const idle = start('idle', ['--import', own, '-e', 'console.log(JSON.stringify(1)); process.exitCode = 3'], none)
  expect(await idle.ended).toEqual({ code: 3, signal: null })
  const failing = start('idle', ['-e', 'throw new Error("as before")'], none)
  expect(await failing.ended).toEqual({ code: 1, signal: null })
  expect([idle.complaints, failing.complaints.includes('inmesh')]).toEqual(['', false])
})

test('each worker of a cluster and each thread is an instance by itself', async () => {
  const cluster = start('clustered', [programPath('cluster.cjs')])
  const threads = start('threaded', [programPath('threads.mjs')])
  const answers = async (service: string): Promise<string[]> => {
    // At the same time: one after the other may all go to one.
    const call = async () => (await mesh.http(service).get('/', { timeout: '20s' })).text()
    return [...new Set(await Promise.all(Array.from({ length: 12 }, call)))].sort()
  }
  await expect.poll(() => answers('clustered'), { timeout: 40_000 }).toEqual(['cluster-1', 'cluster-2'])
  await expect.poll(() => answers('threaded'), { timeout: 40_000 }).toEqual(['thread-1', 'thread-2'])
  // The shared port answers as before.
  const [listening] = await cluster.printed<{ port: number }>(2)
  const text = await (await fetch(`http://127.0.0.1:${listening!.port}/`)).text()
  expect(text).toMatch(/^cluster-[12]$/)
  // Only the main thread gets the signal.
  const slow = mesh.http('threaded').get('/?ms=500', { retry: false })
  expect(await threads.printed(1)).toEqual([{ asked: '/?ms=500' }])
  threads.signal('SIGTERM')
  expect((await slow).status).toBe(200)
  expect(await threads.ended).toEqual({ code: null, signal: 'SIGTERM' })
})

test('with INMESH_AUTO_REQUIRED, a server that cannot join does not listen, and says why', async () => {
  const code = "require('node:http').createServer().listen(0, () => console.log(JSON.stringify('listens')))"
  const program = start('required', ['-e', code], {
    INMESH_AUTO_REQUIRED: 'true',
    INMESH_REGISTRY: 'https://127.0.0.1:9',
  })
  expect(await program.ended).toEqual({ code: 1, signal: null })
  expect(program.lines).toEqual([])
  expect(program.complaints).toContain('registry-unavailable')
})

test('a strict server takes members only', async () => {
  const program = start('strict', [programPath('server.cjs'), PROTO], { INMESH_AUTO_MODE: 'strict' })
  const [ports] = await program.printed<Ports>(1)
  const stranger = await fetch(`http://127.0.0.1:${ports!.http}/items/1`)
  expect(stranger.status).toBe(400)
  expect(await stranger.text()).toContain('strict')
  const response = await mesh.http('strict').get('/items/1', { timeout: '20s' })
  expect(await response.json()).toMatchObject({ encrypted: true })
})

test('a wrong variable ends the process with its name', async () => {
  const program = start('wrong', ['-e', '1'], { INMESH_AUTO_MODE: 'srtict' })
  expect((await program.ended).code).toBe(1)
  expect(program.complaints).toContain("INMESH_AUTO_MODE: expected one of 'permissive', 'strict'")
})
