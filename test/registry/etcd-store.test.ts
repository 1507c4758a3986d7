/** Whole registries on a real etcd. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, StorageError, startRegistry } from '../../src/registry/index.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../rigs/etcd.ts'
import { request } from '../rigs/registry-session.ts'

describe.skipIf(WITHOUT_ETCD)(withEtcd('registries on etcd'), () => {
  let cluster: EtcdCluster
  let home: string
  let prefix = 0
  const open: Registry[] = []
  const closers: (() => unknown)[] = []

  beforeAll(async () => {
    cluster = await EtcdCluster.start()
  }, 60_000)
  afterAll(() => cluster.close())
  beforeEach(() => {
    prefix += 1
    home = mkdtempSync(join(tmpdir(), 'inmesh-etcd-store-'))
  })
  afterEach(async () => {
    for (const registry of open.splice(0)) await registry.close()
    for (const close of closers.splice(0)) await close()
    rmSync(home, { recursive: true, force: true })
  })

  async function start(options: { dataDir?: string } = {}): Promise<Registry> {
    const store = `${cluster.url}/mesh-${prefix}`
    const registry = await startRegistry({ port: 0, log: false, store, ...options })
    open.push(registry)
    return registry
  }

  test('have different ids, one root, one epoch and one history', async () => {
    const first = await start()
    const second = await start()
    expect(first.id).toMatch(/^[a-z2-7]{8}$/)
    expect(second.id).not.toBe(first.id)
    expect(second.rootFingerprint).toBe(first.rootFingerprint)
    expect(second.epoch).toBe(first.epoch)
    expect([typeof first.adminToken, second.adminToken]).toEqual(['string', undefined])
    const [change] = await first.applyPolicies([{ service: 'stock', timeout: '3s' }])
    expect(change).toMatchObject({ change: 'created', version: 1 })
    await expect.poll(() => second.revision).toBe(first.revision)
    const options = { headers: { authorization: `Bearer ${first.adminToken}` } }
    expect((await request(second, 'GET', '/v1/policies/stock', options)).json).toMatchObject({ version: 1 })
  })

  test('start together on a new store with one root and one valid admin token', async () => {
    const directories = ['a', 'b', 'c'].map((name) => join(home, name))
    const registries = await Promise.all(directories.map((dataDir) => start({ dataDir })))
    expect(new Set(registries.map(({ rootFingerprint }) => rootFingerprint)).size).toBe(1)
    expect(new Set(registries.map(({ epoch }) => epoch)).size).toBe(1)
    expect(registries.filter(({ adminToken }) => adminToken !== undefined)).toHaveLength(1)
    expect(directories.filter((path) => existsSync(join(path, 'admin-token')))).toHaveLength(1)
    for (const path of directories) expect(readdirSync(path)).not.toContain('registry.db')
  })

  test('start anew, at the same address, when etcd is restored under them', async () => {
    const snapshot = join(home, 'snapshot')
    await (await start()).applyPolicies([{ service: 'stock', timeout: '3s' }])
    const saved = `mesh-${prefix}`
    await cluster.saveSnapshot(snapshot)
    const restored = await EtcdCluster.start({ snapshot })
    closers.push(() => restored.close())
    const [before, after] = [await cluster.paths(), await restored.paths()]
    after.set('severed')
    const registry = await startRegistry({ port: 0, log: false, store: `${before.url},${after.endpoints[0]}/${saved}` })
    open.push(registry)
    await registry.applyPolicies([{ service: 'stock', timeout: '7s' }])
    const { epoch, rootFingerprint } = registry
    before.set('severed')
    after.set('open')
    await expect.poll(() => registry.epoch, { timeout: 60_000 }).not.toBe(epoch)
    const writable = async (): Promise<boolean> =>
      await registry.applyPolicies([{ service: 'cart', timeout: '1s' }]).then(
        () => true,
        () => false,
      )
    await expect.poll(writable, { timeout: 60_000 }).toBe(true)
    expect(registry.rootFingerprint).toBe(rootFingerprint)
    expect((await request(registry, 'GET', '/readyz')).status).toBe(200)
    const [change] = await registry.applyPolicies([{ service: 'stock', timeout: '9s' }])
    expect(change).toMatchObject({ before: { timeout: '3s' }, version: 2 })
    await registry.close()
    await expect(registry.applyPolicies([{ service: 'stock', timeout: '1s' }])).rejects.toThrow(StorageError)
  }, 180_000)

  test('answer 503 without a majority of etcd, go on reading, and come back', async () => {
    const three = await EtcdCluster.start({ nodes: 3 })
    closers.push(() => three.close())
    const registry = await startRegistry({ port: 0, log: false, store: three.url })
    open.push(registry)
    await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
    const headers = { authorization: `Bearer ${registry.adminToken}` }
    const put = () =>
      request(registry, 'PUT', '/v1/policies/stock', { headers, body: { service: 'stock', timeout: '5s' } })
    const stopped = three.nodes.slice(0, 2)
    await Promise.all(stopped.map((node) => node.kill()))
    const refused = await put()
    expect(refused).toMatchObject({ status: 503, json: { error: { code: 'storage-unavailable' } } })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect((await request(registry, 'GET', '/v1/policies/stock', { headers })).json).toMatchObject({ version: 1 })
    for (const node of stopped) node.start()
    await expect.poll(async () => (await put()).status, { timeout: 60_000 }).toBe(200)
  }, 180_000)

  test('go on in the same epoch after all were stopped, and refuse another etcd', async () => {
    const dataDir = join(home, 'data')
    const first = await start({ dataDir })
    await first.applyPolicies([{ service: 'stock', timeout: '3s' }])
    const { epoch, revision } = first
    await first.close()
    const second = await start({ dataDir })
    expect(second.epoch).toBe(epoch)
    expect(second.revision).toBeGreaterThanOrEqual(revision)
    await second.close()
    prefix += 1
    await expect(start({ dataDir })).rejects.toThrow(/there is no mesh in etcd at .*admin-token shows that there was/)
  })
})
