/** How many services a process can call: as many as it uses, whatever names strangers make up. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LIMITS } from '../../src/discovery/limits.ts'
import { joinMesh, type Mesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

let registry: Registry
const meshes: Mesh[] = []

beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, dev: true, log: false, joinsPerSecond: 1_000 })
})

afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close()
  await registry.close()
})

async function join(service: string): Promise<Mesh> {
  const options = { drainNotice: 0, drainTimeout: 0, joinTimeout: '30s' } as const
  const mesh = await joinMesh({
    service,
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    ...options,
  })
  meshes.push(mesh)
  return mesh
}

async function callMadeUp(from: number, to: number, call: (host: string) => Promise<unknown>): Promise<void> {
  for (let i = from; i < to; i += 100) {
    const some = Array.from({ length: Math.min(100, to - i) }, (_, j) => call(`nobody-${i + j}`).catch(() => {}))
    await Promise.all(some)
  }
}

it('names that nobody serves keep no service out, by fetch or by clients', async () => {
  await (await join('stock')).serve((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 })
  const gateway = await join('gateway')
  await callMadeUp(0, LIMITS.destinations, (name) => gateway.fetch(`http://${name}/`, { timeout: '5ms' }))
  await callMadeUp(2_000, 2_050, (name) => gateway.http(name).get('/', { timeout: '5ms' }))
  expect((await gateway.fetch('http://stock/', { timeout: '50s' })).status).toBe(200)
})

it('a service in use is not forgotten for names that are made up, and a client of a forgotten one finds it again', async () => {
  const gateway = await join('gateway')
  const later = gateway.http('later')
  await later.get('/', { timeout: '5ms' }).catch(() => {})
  await (await join('stock')).serve((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 })
  const stock = gateway.http('stock')
  expect((await stock.get('/')).status).toBe(200)
  await callMadeUp(0, LIMITS.destinations + 50, (name) => gateway.fetch(`http://${name}/`, { timeout: '5ms' }))
  const known = new Set((gateway.metrics().match(/peer="[^"]+"/g) ?? []).map((label) => label.slice(6, -1)))
  expect(known).toContain('stock')
  expect((await stock.get('/')).status).toBe(200)
  await (await join('later')).serve((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 })
  expect((await later.get('/', { timeout: '50s' })).status).toBe(200)
})

it('what is forgotten is not watched any more', async () => {
  const gateway = await join('gateway')
  await callMadeUp(0, LIMITS.destinations + 100, (name) => gateway.fetch(`http://${name}/`, { timeout: '5ms' }))
  // With own service and mesh document, the session is at its limits and was refused nothing.
  expect(gateway.events().filter(({ name }) => name === 'snapshot:rejected')).toEqual([])
  expect(gateway.events().filter(({ name }) => name === 'registry:lost')).toEqual([])
})

it('a gRPC client that is not used makes room for another, and finds its service again', async () => {
  const gateway = await join('gateway')
  const later = gateway.grpc(Shop, 'later')
  const awaited = gateway.grpc(Shop, 'awaited')
  const ready = new Promise<void>((resolve, reject) =>
    awaited.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve())),
  )
  for (let i = 0; i < LIMITS.destinations + 50; i++) gateway.grpc(Shop, `nobody-${i}`)
  const handlers = {
    Get: (_call: unknown, answer: (error: null, stock: { sku: string }) => void) => answer(null, { sku: 'a' }),
  }
  await (await join('later')).serveGrpc(shopServer(handlers as never), { host: '127.0.0.1', port: 0 })
  expect(await later.promises.get({ sku: 'a' }, { timeout: '50s' })).toMatchObject({ sku: 'a' })
  await (await join('awaited')).serveGrpc(shopServer(handlers as never), { host: '127.0.0.1', port: 0 })
  await ready
}, 90_000)
