/** The engine on a real etcd that dies, is cut off, compacted or restored. */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { check } from '../../../../src/options/fields.ts'
import { StorageError } from '../../../../src/registry/storage/errors.ts'
import { etcdStore } from '../../../../src/registry/storage/etcd/options.ts'
import { EtcdStorage } from '../../../../src/registry/storage/etcd/storage.ts'
import type { Batch, Storage } from '../../../../src/registry/storage/storage.ts'
import { EtcdCluster, type EtcdOptions, WITHOUT_ETCD, withEtcd } from '../../../rigs/etcd.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(options?: EtcdOptions): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(options)
  closers.push(() => cluster.close())
  return cluster
}

async function open(url: string): Promise<EtcdStorage> {
  const storage = await EtcdStorage.open(check(etcdStore(), url, 'test'))
  closers.push(() => storage.close())
  return storage
}

const put = (storage: Storage, key: string, value: string) => storage.transact([], [{ key, value }])

/** What a watch has delivered, folded. */
async function follow(storage: Storage): Promise<{ batches: Batch[]; state: Map<string, string> }> {
  const batches: Batch[] = []
  const state = new Map<string, string>()
  await storage.watch('', storage.status().revision, (batch) => {
    batches.push(batch)
    for (const { key, value } of batch.changes) {
      if (value === undefined) state.delete(key)
      else state.set(key, value)
    }
  })
  return { batches, state }
}

const patient = { timeout: 60_000, interval: 20 }

describe.skipIf(WITHOUT_ETCD)(withEtcd('the engine on etcd'), { timeout: 300_000 }, () => {
  test('delivers what it missed as one batch when the history is compacted, and then compares with it', async () => {
    const cluster = await start()
    const paths = await cluster.paths()
    const [far, near] = [await open(paths.url), await open(cluster.url)]
    for (const key of ['kept', 'changed', 'deleted']) await put(near, key, 'before')
    await expect.poll(() => far.status().revision, patient).toBe(near.status().revision)
    const { batches } = await follow(far)
    paths.set('severed')
    await put(near, 'changed', 'after')
    await put(near, 'deleted', 'shortly')
    await near.transact([], [{ key: 'deleted', value: undefined }])
    await put(near, 'added', 'after')
    await put(near, 'passing', 'after')
    await near.transact([], [{ key: 'passing', value: undefined }])
    await cluster.compact()
    paths.set('open')
    await expect.poll(() => batches.length, patient).toBe(1)
    const changes = [...batches[0]!.changes].sort((a, b) => (a.key < b.key ? -1 : 1))
    expect(changes).toEqual([
      { key: 'added', value: 'after' },
      { key: 'changed', value: 'after' },
      { key: 'deleted', value: undefined },
    ])
    // As a registry does, which knows a key as of the batch that told of it.
    await expect.poll(() => far.status().writable, patient).toBe(true)
    const [compare] = [{ key: 'changed', revision: batches[0]!.revision }]
    const swapped = await far.transact([compare!], [{ key: 'changed', value: 'again' }])
    expect(swapped.ok).toBe(true)
    expect((await far.transact([compare!], [{ key: 'changed', value: 'no' }])).ok).toBe(false)
    expect((await far.transact([{ key: 'changed', revision: swapped.revision }], [])).ok).toBe(true)
    expect((await far.list('')).items).toEqual((await near.list('')).items)
  })

  test('loses no acknowledged write and makes none twice while the leader is killed', async () => {
    const cluster = await start({ nodes: 3 })
    const [writer, reader] = [await open(cluster.url), await open(cluster.url)]
    const { batches, state } = await follow(reader)
    const acknowledged: string[] = []
    const failures: unknown[] = []
    let stopped = false
    const write = async (lane: number): Promise<void> => {
      for (let i = 0; !stopped; i++) {
        const key = `k/${lane}/${i}`
        try {
          const { ok } = await writer.transact([{ key, revision: 0 }], [{ key, value: `${i}` }])
          // A write that is made twice finds its own key.
          if (ok) acknowledged.push(key)
          else failures.push(key)
        } catch (error) {
          // Said beforehand: machines exist on which an election takes longer than a write may.
          if (writer.status().writable) failures.push(error)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    }
    const lanes = [0, 1, 2, 3].map(write)
    for (let kills = 0; kills < 2; kills++) {
      const before = acknowledged.length
      await expect.poll(() => acknowledged.length, patient).toBeGreaterThan(before + 100)
      const leader = await cluster.leader()
      await leader.kill()
      const after = acknowledged.length
      await expect.poll(() => acknowledged.length, patient).toBeGreaterThan(after + 100)
      leader.start()
      await leader.healthy()
    }
    stopped = true
    await Promise.all(lanes)
    expect(failures).toEqual([])
    await expect.poll(() => reader.status().revision, patient).toBe(writer.status().revision)
    expect(acknowledged.filter((key) => !state.has(key))).toEqual([])
    const puts = batches.flatMap(({ changes }) => changes.map(({ key }) => key))
    expect(puts).toHaveLength(new Set(puts).size)
    expect(batches.map(({ revision }) => revision)).toEqual(
      [...new Set(batches.map(({ revision }) => revision))].sort((a, b) => a - b),
    )
  })

  test('refuses writes within seconds without a majority, lists what it knows, and goes on afterwards', async () => {
    const cluster = await start({ nodes: 3 })
    const storage = await open(cluster.url)
    await put(storage, 'a', '1')
    const { state } = await follow(storage)
    const told: boolean[] = []
    storage.onStatus(({ writable }) => told.push(writable))
    const leader = await cluster.leader()
    const other = cluster.nodes.find((node) => node !== leader)!
    await Promise.all([leader.kill(), other.kill()])
    const began = performance.now()
    await expect(put(storage, 'a', '2')).rejects.toThrow(StorageError)
    await expect.poll(() => storage.status().writable, patient).toBe(false)
    expect(storage.status().reason).toMatch(/etcd/)
    await expect(put(storage, 'a', '3')).rejects.toThrow(StorageError)
    expect(performance.now() - began).toBeLessThan(30_000)
    expect((await storage.list('')).items).toMatchObject([{ key: 'a', value: '1' }])
    for (const node of [leader, other]) node.start()
    await expect.poll(() => storage.status().writable, patient).toBe(true)
    const written = () =>
      put(storage, 'a', '4').then(
        () => true,
        () => false,
      )
    await expect.poll(written, patient).toBe(true)
    expect(state.get('a')).toBe('4')
    // More than once where the nodes take long to agree.
    expect(told.slice(0, 2)).toEqual([false, true])
  })

  test('that alone is cut off without a word notices, loses its announcement and announces again', async () => {
    const cluster = await start({ nodes: 3 })
    const paths = await cluster.paths()
    const [far, near] = [await open(paths.url), await open(cluster.url)]
    const announcement = await far.announce('registry/far', '1')
    const leadership = await far.campaign('reaper')
    const next = near.campaign('reaper')
    const { state } = await follow(near)
    const { state: missed } = await follow(far)
    paths.set('silent')
    await expect.poll(() => far.status().writable, patient).toBe(false)
    await Promise.all([announcement.lost, leadership.lost])
    await next
    await expect.poll(() => state.get('registry/far'), patient).toBeUndefined()
    await expect(announcement.update('2')).rejects.toThrow(StorageError)
    await put(near, 'a', '1')
    expect(missed.size).toBe(0)
    paths.set('open')
    await expect.poll(() => far.status().writable, patient).toBe(true)
    const again = await far.announce('registry/far', '2')
    await expect.poll(() => state.get('registry/far'), patient).toBe('2')
    expect(missed.get('a')).toBe('1')
    await again.end()
  })

  test('says that etcd is out of space, and goes on when there is room', async () => {
    const cluster = await start({ args: ['--quota-backend-bytes', '16000000'] })
    const storage = await open(cluster.url)
    await cluster.fill()
    await expect(put(storage, 'a', '1')).rejects.toThrow(/out of space/)
    expect(storage.status()).toMatchObject({ writable: false, reason: expect.stringMatching(/out of space/) })
    await cluster.makeRoom()
    await expect.poll(() => storage.status().writable, patient).toBe(true)
    await put(storage, 'a', '1')
  })

  test('that runs while etcd is restored from a backup says so, and delivers what went back', async () => {
    const cluster = await start()
    const first = await open(cluster.url)
    await put(first, 'a', 'old')
    await put(first, 'b', 'old')
    const snapshot = join(temporaryDirectory(closers), 'snapshot')
    await cluster.saveSnapshot(snapshot)
    const restored = await start({ snapshot })
    const [before, after] = [await cluster.paths(), await restored.paths()]
    after.set('severed')
    const storage = await open(`${before.url},${after.endpoints[0]}`)
    await put(storage, 'a', 'new')
    await put(storage, 'c', 'new')
    for (let i = 0; i < 50; i++) await put(first, 'd', `${i}`)
    await expect.poll(() => storage.status().revision, patient).toBe(first.status().revision)
    const { batches } = await follow(storage)
    const { epoch, revision } = storage.status()
    const epochs: string[] = []
    storage.onStatus((status) => epochs.push(status.epoch))
    before.set('severed')
    after.set('open')
    await expect.poll(() => batches.length, patient).toBe(1)
    expect(batches[0]!.revision).toBeLessThan(revision)
    expect(Object.fromEntries(batches[0]!.changes.map(({ key, value }) => [key, value]))).toEqual({
      a: 'old',
      c: undefined,
      d: undefined,
    })
    expect(epochs[0]).not.toBe(epoch)
    expect(storage.status()).toMatchObject({ epoch: epochs[0], continues: false })
    await expect.poll(() => storage.status().writable, patient).toBe(true)
    const compare = { key: 'a', revision: batches[0]!.revision }
    expect((await storage.transact([compare], [{ key: 'a', value: 'newer' }])).ok).toBe(true)
    expect(batches[1]!.revision).toBeGreaterThan(batches[0]!.revision)
  })

  test('is in a new epoch after a restore, and only then', async () => {
    const cluster = await start()
    const storage = await open(cluster.url)
    await put(storage, 'a', 'old')
    const { epoch } = storage.status()
    expect(storage.status().continues).toBe(false)
    const snapshot = join(temporaryDirectory(closers), 'snapshot')
    await cluster.saveSnapshot(snapshot)
    await put(storage, 'a', 'new')
    await storage.close()
    const next = await open(cluster.url)
    expect(next.status()).toMatchObject({ epoch, continues: true })
    await next.close()
    const restored = await start({ snapshot })
    const after = await open(restored.url)
    expect(after.status().continues).toBe(false)
    expect(after.status().epoch).not.toBe(epoch)
    expect((await after.list('')).items).toMatchObject([{ key: 'a', value: 'old' }])
    const again = await open(restored.url)
    expect(again.status()).toMatchObject({ epoch: after.status().epoch, continues: true })
  })

  test('is not disturbed by what others keep in the same etcd, nor by how much they write', async () => {
    const cluster = await start()
    await cluster.ctl('put', 'inmesh', 'not below the prefix')
    await cluster.ctl('put', 'inmesh0', 'behind it')
    const storage = await open(cluster.url)
    const other = await open(`${cluster.url}/inmesh-too`)
    const { batches } = await follow(storage)
    const { revision } = await put(storage, 'a', '1')
    for (let i = 0; i < 50; i++) await put(other, 'a', `${i}`)
    await cluster.compact()
    expect((await storage.list('')).items).toEqual([{ key: 'a', value: '1', revision }])
    const later = await put(storage, 'b', '2')
    expect(batches.map((batch) => batch.revision)).toEqual([revision, later.revision])
    expect((await other.list('')).items).toHaveLength(1)
  })
})
