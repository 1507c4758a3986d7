/**
 * The first call of a process to a service: made before anything is known of it, and bound by its
 * policy all the same.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, joinMesh, type Mesh, type MeshError } from '../../src/index.ts'
import { startRegistry } from '../../src/registry/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

let test: TestMesh

beforeEach(async () => {
  test = await startTestMesh()
})

afterEach(async () => {
  await test.close()
})

const quick = { backoff: { base: 1, max: 2 } }

/** Each makes the first call of `mesh` to `service`, and says how it ended. */
const DOORS: Record<string, (mesh: Mesh, service: string) => Promise<unknown>> = {
  http: async (mesh, service) => (await mesh.http(service).get('/')).status,
  'http with collapse': async (mesh, service) => (await mesh.http(service, { collapse: true }).get('/')).status,
  'http with a filter': async (mesh, service) =>
    (await mesh.http(service, { filters: [(asked, call, next) => next(asked, call)] }).get('/')).status,
  fetch: async (mesh, service) => (await mesh.fetch(`http://${service}/`)).status,
  dispatcher: async (mesh, service) =>
    (await request(`http://${service}.mesh/`, { dispatcher: mesh.dispatcher() })).statusCode,
}

it('of a mistyped name says so, with the registered one, by every door', async () => {
  await test.apply([{ service: 'inventroy', timeout: '3s' }])
  await test.serve('inventory', (_req, res) => res.end())
  // One member, because the registry looks up few names a second.
  const checkout = await test.join('checkout')
  const asked = Object.values(DOORS).map((call) => call(checkout, 'inventroy').catch((thrown: Error) => thrown))
  for (const error of await Promise.all(asked)) {
    expect(String(error)).toContain(
      "before any instance of 'inventroy' was known: no process registers it; did you mean 'inventory'?",
    )
  }
})

it('of a name that is like no other says that no process registers it, until one does', async () => {
  const mesh = await test.join('checkout')
  const ask = () => mesh.http('billing').get('/', { timeout: '3s' })
  await expect(ask()).rejects.toThrow(/: no process registers it$/)
  await test.serve('billing', (_req, res) => res.end('paid'))
  expect((await mesh.http('billing').get('/', { timeout: '50s' })).status).toBe(200)
})

it('of a service that serves another protocol names it', async () => {
  await test.serve('inventory', (_req, res) => res.end())
  const shop = (await test.join('checkout')).grpc(Shop, 'inventory')
  await expect(shop.promises.get({ sku: 'a' }, { timeout: '3s' })).rejects.toThrow(
    /: its instances serve http, not grpc$/,
  )
})

it('says that no registry answers, and which were asked', async () => {
  const mesh = await joinMesh({
    ...{ service: 'checkout', registry: 'https://127.0.0.1:1', startWithoutRegistry: true, handleSignals: false },
    stateDir: 'memory',
  })
  await expect(mesh.http('inventory').get('/', { timeout: '200ms' })).rejects.toThrow(
    /before any instance of 'inventory' was known: no registry answers \(https:\/\/127\.0\.0\.1:1\)$/,
  )
  await mesh.close()
})

it('says that no registry answers, and that none was known before, of a name absent in the last run', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'inmesh-first-call-'))
  const registry = await startRegistry({ memory: true, dev: true, port: 0, log: false })
  const start = (joinTimeout: '1s' | '30s') =>
    joinMesh({
      ...{ service: 'checkout', registry: registry.url, stateDir, startWithoutRegistry: true },
      ...{ handleSignals: false, drainNotice: 0, joinTimeout },
    })
  const call = (mesh: Mesh, timeout: '300ms' | '3s' | '10s') => mesh.http('score').get('/', { timeout })
  const first = await start('30s')
  await expect(call(first, '3s')).rejects.toThrow(/: no process registers it$/)
  await first.close()
  await registry.close()
  const again = await start('1s')
  const says = /no registry answers \(https:\/\/127\.0\.0\.1:\d+\), and no instance was known before$/
  await expect(call(again, '300ms')).rejects.toThrow(says)
  await expect(call(again, '10s')).rejects.toMatchObject({ code: 'no-endpoints', message: expect.stringMatching(says) })
  await again.close()
  await rm(stateDir, { recursive: true })
})

it('the first call ends at the timeout of its policy, by every door', async () => {
  await test.apply([{ service: 'inventory', timeout: '5s', retry: { attempts: 1 } }])
  const left = new Map<string, number>()
  await test.serve('inventory', () => {
    const { peer, remainingMs } = currentCall()!
    left.set(peer!.service!, remainingMs)
  })
  const names = Object.keys(DOORS).map((_, i) => `caller-${i}`)
  const members = await Promise.all(names.map((name) => test.join(name)))
  // Either side may be the first to give up.
  const ends = await Promise.all(
    Object.values(DOORS).map((call, i) => call(members[i]!, 'inventory').catch((error: MeshError) => error.code)),
  )
  for (const end of ends) expect([504, 'deadline-exceeded']).toContain(end)
  expect([...left.keys()].toSorted()).toEqual(names)
  for (const remainingMs of left.values()) expect(remainingMs).toBeLessThanOrEqual(5_000)
})

describe.each(Object.entries(DOORS))('the first call, by %s', (_, call) => {
  it('has the time that its policy gives, and is tried again as it says', async () => {
    await test.apply([{ service: 'inventory', timeout: '60s', retry: { ...quick, attempts: 4, statuses: [500] } }])
    let served = 0
    await test.serve('inventory', (_req, res) => {
      served += 1
      res.writeHead(served < 4 ? 500 : 200).end()
    })
    expect(await call(await test.join('checkout'), 'inventory')).toBe(200)
    expect(served).toBe(4)
  })
})

describe('the first call by gRPC', () => {
  const get = (mesh: Mesh, service: string, options = {}) =>
    mesh.grpc(Shop, service).promises.take({ sku: 'a' }, options)

  it('ends at the timeout of its policy', async () => {
    await test.apply([{ service: 'inventory', timeout: '5s' }])
    const left: number[] = []
    await (await test.join('inventory')).serveGrpc(
      shopServer({ Take: () => void left.push(currentCall()!.remainingMs) }),
    )
    await expect(get(await test.join('checkout'), 'inventory')).rejects.toMatchObject({ code: 4 })
    expect(left.length).toBe(1)
    expect(left[0]).toBeLessThanOrEqual(5_000)
  })

  it('is tried again by the statuses and methods of its policy, unless the call says otherwise', async () => {
    const retry = { ...quick, attempts: 4, grpcStatuses: ['INTERNAL'], idempotent: ['shop.Inventory/Take'] }
    await test.apply([{ service: 'inventory', retry }])
    let served = 0
    await (await test.join('inventory')).serveGrpc(
      shopServer({
        Take: (_call, answer) => {
          served += 1
          if (served % 4 === 0) answer(null, { sku: 'a' })
          else answer({ code: 13, details: 'again' })
        },
      }),
    )
    expect(await get(await test.join('a'), 'inventory')).toMatchObject({ sku: 'a' })
    expect(served).toBe(4)
    for (const options of [{ idempotent: false }, { retry: false }]) {
      served = 0
      await expect(get(await test.join('b'), 'inventory', options)).rejects.toMatchObject({ code: 13 })
      expect(served).toBe(1)
    }
  })
})

describe('a call to a service of which nothing becomes known', () => {
  it('ends by its own timeout, when it is cancelled, and when the mesh is closed', async () => {
    const mesh = await joinMesh({
      service: 'checkout',
      registry: 'https://127.0.0.1:1',
      startWithoutRegistry: true,
      joinTimeout: 100,
      stateDir: 'memory',
      handleSignals: false,
    })
    const signal = AbortSignal.abort('enough')
    const later = new AbortController()
    const ends = [
      mesh.http('nobody').get('/', { timeout: '50ms' }),
      mesh.http('nobody').get('/', { signal }),
      mesh.fetch('http://nobody/', { signal: later.signal }),
      mesh.http('nobody').get('/'),
      mesh.grpc(Shop, 'nobody').promises.get({ sku: 'a' }),
    ].map((call) => call.then(String, (error: { code?: unknown }) => error.code ?? error))
    setTimeout(() => later.abort('enough'), 20)
    expect(await Promise.all(ends.slice(0, 3))).toEqual(['deadline-exceeded', 'cancelled', 'enough'])
    await mesh.close()
    expect(await Promise.all(ends.slice(3))).toEqual(['closed', 14])
  })
})
