/** Registries on one etcd are given a seal key, and another one, while they run. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Registry, type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'
import { join, request } from '../../rigs/registry-session.ts'

describe.skipIf(WITHOUT_ETCD)(withEtcd('registries on etcd'), () => {
  const [one, two] = [randomBytes(32), randomBytes(32)]
  let cluster: EtcdCluster
  const registries = new Set<Registry>()
  beforeAll(async () => {
    cluster = await EtcdCluster.start()
  }, 60_000)
  afterAll(async () => {
    for (const registry of registries) await registry.close()
    await cluster?.close()
  })

  async function start(options: RegistryOptions = {}): Promise<Registry> {
    const registry = await startRegistry({ port: 0, store: cluster.url, log: false, ...options })
    registries.add(registry)
    return registry
  }
  async function stop(registry: Registry): Promise<void> {
    registries.delete(registry)
    await registry.close()
  }
  const values = (): Promise<string> => cluster.ctl('get', '--prefix', '')
  let admin: string

  test('are sealed one after the other, change the key so, and issue certificates throughout', async () => {
    let first = await start()
    admin = first.adminToken!
    let second = await start()
    expect(await values()).toContain('BEGIN PRIVATE KEY')

    await stop(first)
    first = await start({ sealKey: one })
    expect(await values()).not.toContain('BEGIN PRIVATE KEY')
    const { rootFingerprint } = first
    // The one without the key goes on with what it knows.
    await join(second, 'checkout')
    await stop(second)
    await expect(start()).rejects.toThrow(/sealKey: is missing: the keys of this store are sealed/)
    second = await start({ sealKey: one })
    await join(second, 'checkout')

    await stop(first)
    first = await start({ sealKey: two, formerSealKey: one })
    await join(first, 'checkout')
    await join(second, 'checkout')
    await stop(second)
    await expect(start({ sealKey: one })).rejects.toThrow(/sealKey: is another one/)
    second = await start({ sealKey: two })
    expect([first.rootFingerprint, second.rootFingerprint]).toEqual([rootFingerprint, rootFingerprint])
    expect(await values()).not.toContain('BEGIN PRIVATE KEY')
  }, 180_000)

  test('seal the keys of a rotation, too', async () => {
    const [registry] = registries
    const headers = { authorization: `Bearer ${admin}` }
    const before = (await cluster.ctl('get', '--prefix', '--keys-only', '')).match(/\/ca\//g)!.length
    const answer = await request(registry!, 'POST', '/v1/ca/rotate', { body: { what: 'intermediate' }, headers })
    expect(answer.status, answer.text).toBeLessThan(300)
    expect((await cluster.ctl('get', '--prefix', '--keys-only', '')).match(/\/ca\//g)!.length).toBeGreaterThan(before)
    expect(await values()).not.toContain('BEGIN PRIVATE KEY')
  })
})
