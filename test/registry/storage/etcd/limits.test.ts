/** Large and unusual contents of a store on etcd. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { check } from '../../../../src/options/fields.ts'
import { etcdStore } from '../../../../src/registry/storage/etcd/options.ts'
import { EtcdStorage } from '../../../../src/registry/storage/etcd/storage.ts'
import { MOST_COMPARES, MOST_OPERATIONS } from '../../../../src/registry/storage/storage.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../../../rigs/etcd.ts'

const patient = { timeout: 60_000, interval: 20 }

describe.skipIf(WITHOUT_ETCD)(withEtcd('a store on etcd'), { timeout: 240_000 }, () => {
  let cluster: EtcdCluster
  let stores = 0
  const closers: (() => unknown)[] = []

  beforeAll(async () => {
    cluster = await EtcdCluster.start()
  }, 60_000)
  afterAll(() => cluster.close())
  afterEach(async () => {
    stores += 1
    for (const close of closers.splice(0).reverse()) await close()
  })

  async function open(url = cluster.url): Promise<EtcdStorage> {
    const storage = await EtcdStorage.open(check(etcdStore(), `${url}/store-${stores}`, 'test'))
    closers.push(() => storage.close())
    return storage
  }

  async function fill(storage: EtcdStorage, count: number, value: string): Promise<void> {
    const keys = Array.from({ length: count }, (_, i) => `inst/s/${String(i).padStart(6, '0')}`)
    for (let i = 0; i < keys.length; i += 500) {
      const operations = keys.slice(i, i + 500).map((key) => ({ key, value }))
      await storage.transact([], operations)
    }
  }

  test('keeps every text as it is', async () => {
    const storage = await open()
    const texts = ['', ' ', '\0', 'ä', '€', '🙂', '\u{10ffff}', '\r\n', '"', 'x'.repeat(100_000)]
    const seen: (string | undefined)[] = []
    await storage.watch('', storage.status().revision, ({ changes }) => seen.push(...changes.map(({ value }) => value)))
    for (const [i, value] of texts.entries()) await storage.transact([], [{ key: `k/${i} ä🙂/x`, value }])
    const { items } = await storage.list('k/')
    expect(items.map(({ key, value }) => [key, value])).toEqual(texts.map((value, i) => [`k/${i} ä🙂/x`, value]))
    expect(seen).toEqual(texts)
  })

  test('takes as many operations and compares as a transaction may have, all or none', async () => {
    const storage = await open()
    const operations = Array.from({ length: MOST_OPERATIONS }, (_, i) => ({ key: `k/${i}`, value: `${i}` }))
    const absent = Array.from({ length: MOST_COMPARES }, (_, i) => ({ key: `k/${i * 7}`, revision: 0 }))
    const batches: number[] = []
    await storage.watch('', storage.status().revision, ({ changes }) => batches.push(changes.length))
    expect((await storage.transact(absent, operations)).ok).toBe(true)
    expect((await storage.transact(absent, operations)).ok).toBe(false)
    expect(batches).toEqual([MOST_OPERATIONS])
    const removals = operations.map(({ key }) => ({ key, value: undefined }))
    expect((await storage.transact([], removals)).ok).toBe(true)
    expect((await storage.list('')).items).toEqual([])
  })

  test('takes the last of several operations on a key', async () => {
    const storage = await open()
    const values = ['1', undefined, '2']
    await storage.transact(
      [],
      values.map((value) => ({ key: 'k', value })),
    )
    expect((await storage.list('')).items).toMatchObject([{ key: 'k', value: '2' }])
  })

  test('refuses what etcd does not take with one clear error, and goes on', async () => {
    const storage = await open()
    for (const length of [1_600_000, 3_000_000]) {
      const large = storage.transact([], [{ key: 'large', value: 'x'.repeat(length) }])
      const small = storage.transact([], [{ key: 'small', value: '1' }])
      await expect(large).rejects.toThrow(/the change is larger than etcd takes .*--max-request-bytes/)
      expect((await small).ok).toBe(true)
      expect(storage.status().writable).toBe(true)
    }
  })

  test('shares revisions among transactions that come together', async () => {
    const storage = await open()
    const results = await Promise.all(
      Array.from({ length: 500 }, (_, i) =>
        storage.transact([{ key: `k/${i}`, revision: 0 }], [{ key: `k/${i}`, value: '1' }]),
      ),
    )
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(new Set(results.map(({ revision }) => revision)).size).toBeLessThan(30)
    const again = await Promise.all(
      Array.from({ length: 500 }, (_, i) =>
        storage.transact(
          [{ key: `k/${i}`, revision: i % 2 === 0 ? 0 : results[i]!.revision }],
          [{ key: `k/${i}`, value: '2' }],
        ),
      ),
    )
    expect(again.map(({ ok }) => ok)).toEqual(results.map((_, i) => i % 2 === 1))
  })

  test('lists and loads many instances as of one revision while others write', async () => {
    const storage = await open()
    await fill(storage, 20_000, 'x'.repeat(300))
    let writing = true
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        const both = ['000001', '019999'].map((id) => ({ key: `inst/s/${id}`, value: `${i}` }))
        await storage.transact([], both)
      }
    })()
    // A part of the CPU that the list takes: a turn takes longer on a machine that is busy.
    let longest = 0
    const before = process.cpuUsage()
    let since = process.cpuUsage()
    let next = setImmediate(function turn() {
      longest = Math.max(longest, process.cpuUsage(since).user / 1_000)
      since = process.cpuUsage()
      next = setImmediate(turn)
    })
    const other = await open()
    const { items } = await other.list('inst/')
    clearImmediate(next)
    const whole = process.cpuUsage(before).user / 1_000
    writing = false
    await writer
    expect(items).toHaveLength(20_000)
    expect(items[1]!.value).toBe(items[19_999]!.value)
    expect(longest).toBeLessThan(whole / 2)
  })

  test('delivers many missed changes as one, without a long pause', async () => {
    const paths = await cluster.paths()
    const [far, near] = [await open(paths.url), await open()]
    await fill(near, 5_000, 'before')
    await expect.poll(() => far.status().revision, patient).toBe(near.status().revision)
    const batches: number[] = []
    await far.watch('', far.status().revision, ({ changes }) => batches.push(changes.length))
    paths.set('severed')
    for (let i = 0; i < 300; i++)
      await near.transact([], [{ key: `inst/s/${String(i % 7).padStart(6, '0')}`, value: `${i}` }])
    await near.transact([], [{ key: 'inst/s/000100', value: undefined }])
    paths.set('open')
    await expect.poll(() => batches, patient).toEqual([8])
    expect((await far.list('')).items).toEqual((await near.list('')).items)
  })

  test('delivers more at once than a message of gRPC usually holds', async () => {
    const paths = await cluster.paths()
    const [far, near] = [await open(paths.url), await open()]
    const seen: string[] = []
    await far.watch('', far.status().revision, ({ changes }) => seen.push(...changes.map(({ key }) => key)))
    paths.set('severed')
    const keys = Array.from({ length: 8 }, (_, i) => `large/${i}`)
    for (const key of keys) await near.transact([], [{ key, value: 'x'.repeat(1_200_000) }])
    paths.set('open')
    await expect.poll(() => seen, patient).toEqual(keys)
    expect((await far.list('')).items.map(({ value }) => value.length)).toEqual(keys.map(() => 1_200_000))
  })

  test('leaves nothing open when it is closed, not even while etcd is silent', async () => {
    const paths = await cluster.paths()
    const storage = await open(paths.url)
    await storage.announce('registry/a', '1')
    void storage.campaign('reaper')
    void storage.campaign('reaper')
    paths.set('silent')
    const write = storage.transact([], [{ key: 'a', value: '1' }]).catch((error: unknown) => error)
    await storage.close()
    expect(String(await write)).toMatch(/etcd|closed/)
    paths.set('severed')
    const kinds = (): string[] => process.getActiveResourcesInfo().filter((kind) => /TCPSocket|TLSWrap/.test(kind))
    await expect.poll(() => kinds().length, patient).toBe(0)
  })
})
