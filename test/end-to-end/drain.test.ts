/**
 * Graceful shutdown: a SIGTERM loses no request, a second one ends the process at once, and the
 * library keeps no process alive.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import type { Registry } from '../../src/registry/index.ts'
import { request } from '../rigs/registry-session.ts'
import { Load } from './load.ts'
import { eventually, type Process, Rig, wait } from './rig.ts'

let rig: Rig
let registry: Registry

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ dev: true })
})

afterEach(async () => {
  await rig.close()
})

function startServer(name: string, more: object = {}): Promise<Process> {
  const mesh = { service: 'inventory', registry: registry.url, stateDir: 'memory' }
  return rig.start('service', { mesh, name, ...more })
}

test('SIGTERM under load: no request fails, the process exits with 0, and the next one takes over', async () => {
  const [a] = await Promise.all([startServer('a'), startServer('b')])
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')
  const shares = new Map<string, number>()
  // Long enough for some to be under way at any moment; POSTs, because these are not repeated.
  const load = new Load(100, async (number) => {
    const response = await (number % 2 === 0 ? inventory.get('/slow?ms=30') : inventory.post('/', 'x'))
    const name = await response.text()
    if (!response.ok) throw new Error(`status ${response.status}`)
    shares.set(name, (shares.get(name) ?? 0) + 1)
  })
  await load.succeeds(100)
  await eventually('both answer', () => shares.size === 2)
  a!.signal('SIGTERM')
  const { code, signal } = await a!.exited
  expect([code, signal]).toEqual([0, null])
  await startServer('c')
  // What it answered last was read by then.
  const left = shares.get('a')
  await eventually('the next one takes over', () => shares.has('c'))
  await load.succeeds(100)
  await load.stop()
  expect(load.failures).toEqual([])
  expect(shares.get('a')).toBe(left)
}, 120_000)

test('a second SIGTERM ends the process at once', async () => {
  await registry.applyPolicies([{ service: 'inventory', timeout: '60s' }])
  const server = await startServer('a', { log: rig.path('asked'), workMs: 60_000 })
  const client = await rig.mesh(registry, 'checkout')
  const running = client
    .http('inventory')
    .post('/', 'x')
    .catch((error: unknown) => error)
  await eventually('it is asked', () => rig.lines('asked').length === 1)
  server.signal('SIGTERM')
  const states = async (): Promise<string[]> =>
    (await request(registry, 'GET', '/v1/services/inventory')).json.instances.map(({ state }: Instance) => state)
  await eventually('it leaves', async () => (await states()).join() === 'draining')
  expect(server.running).toBe(true)
  const asked = performance.now()
  server.signal('SIGTERM')
  const { code, at } = await server.exited
  expect(code).toBe(143)
  // The call would take longer, and the drain as well.
  expect(at - asked).toBeLessThan(15_000)
  expect(await running).toMatchObject({ name: 'MeshError', sent: true })
})

/** From its last word to its end. */
async function exitOf(leaver: Process): Promise<{ code: number | null; ms: number }> {
  await leaver.message((message) => (message as unknown) === 'done')
  const saidAt = performance.now()
  const late = wait(20_000).then(() => undefined)
  const exited = await Promise.race([leaver.exited, late])
  if (exited === undefined) throw new Error(`still running: ${leaver.output}`)
  expect(leaver.output).toBe('')
  return { code: exited.code, ms: exited.at - saidAt }
}

test('a process that served, called and closed its mesh ends by itself', async () => {
  await startServer('a')
  const mesh = { service: 'leaver', registry: registry.url, stateDir: rig.path('leaver') }
  const { code, ms } = await exitOf(rig.spawn('leaver', { mesh, calls: 'inventory', serve: true, close: true }))
  expect(code).toBe(0)
  expect(ms).toBeLessThan(5_000)
})

test('a process that only called, and closed nothing, is not kept alive by the mesh', async () => {
  await startServer('a')
  const mesh = { service: 'leaver', registry: registry.url, stateDir: 'memory' }
  const { code } = await exitOf(rig.spawn('leaver', { mesh, calls: 'inventory', serve: false, close: false }))
  expect(code).toBe(0)
})

test('close() resolves, also twice and at once, and calls afterwards say that the mesh was closed', async () => {
  await startServer('a')
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')
  await (await inventory.get('/')).text()
  await Promise.all([client.close(), client.close(), client[Symbol.asyncDispose]()])
  expect(() => client.http('prices')).toThrow(expect.objectContaining({ code: 'closed' }))
  await expect(client.serve(() => {})).rejects.toMatchObject({ code: 'closed' })
  await expect(inventory.get('/', { timeout: '1s' })).rejects.toMatchObject({ name: 'MeshError', sent: false })
})
