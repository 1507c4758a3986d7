/** Whole registries on a real etcd. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../rigs/etcd.ts'
import { request } from '../rigs/registry-session.ts'

describe.skipIf(WITHOUT_ETCD)(withEtcd('registries on etcd'), () => {
  let cluster: EtcdCluster
  let home: string
  let prefix = 0
  const open: Registry[] = []

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
