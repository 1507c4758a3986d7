/** What every storage engine must do; each engine runs all of it. */
import { cpSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { check } from '../../../src/options/fields.ts'
import { CompactedError, StorageError } from '../../../src/registry/storage/errors.ts'
import { etcdStore } from '../../../src/registry/storage/etcd/options.ts'
import { EtcdStorage } from '../../../src/registry/storage/etcd/storage.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { SqliteStorage } from '../../../src/registry/storage/sqlite.ts'
import { type Batch, MOST_COMPARES, MOST_OPERATIONS, type Storage } from '../../../src/registry/storage/storage.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'

const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : 1)
const directories: string[] = []
const opened: Storage[] = []

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-storage-'))
  directories.push(path)
  return path
}

const engines: Record<string, (history?: number) => Promise<Storage>> = {
  memory: async (history) => new MemoryStorage(history === undefined ? {} : { history }),
  sqlite: (history) =>
    SqliteStorage.open({ path: join(directory(), 'state', 'r.db'), ...(history === undefined ? {} : { history }) }),
}

let etcd: EtcdCluster | undefined
let stores = 0

if (WITHOUT_ETCD === undefined) {
  engines.etcd = (history) => {
    const url = `${etcd!.url}/store-${stores++}`
    return EtcdStorage.open(check(etcdStore(), url, 'test'), history)
  }
  beforeAll(async () => {
    etcd = await EtcdCluster.start()
  }, 60_000)
  afterAll(() => etcd?.close())
} else test.skip(withEtcd('the etcd engine'), () => {})

afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close()
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
})

describe.each(Object.keys(engines))('the %s engine', (name) => {
  async function open(history?: number): Promise<Storage> {
    const storage = await engines[name]!(history)
    opened.push(storage)
    return storage
  }
  const put = (storage: Storage, key: string, value: string) => storage.transact([], [{ key, value }])

  test('gives every change a later revision', async () => {
    const storage = await open()
    const start = storage.status().revision
    const results = [
      await put(storage, 'a/1', 'x'),
      await put(storage, 'a/2', 'y'),
      await storage.transact([], [{ key: 'a/1', value: undefined }]),
    ]
    const revisions = [start, ...results.map(({ revision }) => revision)]
    expect(results.every(({ ok }) => ok)).toBe(true)
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b))
    expect(storage.status()).toMatchObject({ engine: name, revision: revisions.at(-1) })
    expect(storage.status().epoch).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('scans a large store in parts, which with the changes meanwhile are its state', async () => {
    const storage = await open()
    const keys = Array.from({ length: 2_300 }, (_, i) => `a/${i}`)
    for (let i = 0; i < keys.length; i += MOST_OPERATIONS) {
      const some = keys.slice(i, i + MOST_OPERATIONS)
      await storage.transact(
        [],
        some.map((key) => ({ key, value: 'old' })),
      )
    }
    await put(storage, 'b/1', 'foreign')
    const newest = new Map<string, { value: string | undefined; revision: number }>()
    const learn = (key: string, value: string | undefined, revision: number): void => {
      if ((newest.get(key)?.revision ?? 0) <= revision) newest.set(key, { value, revision })
    }
    const stop = await storage.watch('a/', storage.status().revision, ({ changes, revision }) => {
      for (const { key, value } of changes) learn(key, value, revision)
    })
    let parts = 0
    for await (const items of storage.scan('a/')) {
      parts += 1
      for (const { key, value, revision } of items) learn(key, value, revision)
      // Behind and before where the scan stands.
      await storage.transact([], [{ key: `a/${parts * 7}`, value: undefined }])
      await put(storage, `a/${2_299 - parts}`, 'new')
      await put(storage, `a/more-${parts}`, 'new')
    }
    stop()
    expect(parts).toBeGreaterThan(4)
    const { items } = await storage.list('a/')
    const folded = [...newest].filter(([, { value }]) => value !== undefined)
    expect(folded.map(([key, { value, revision }]) => ({ key, value, revision })).sort(byKey)).toEqual(items)
    expect(newest.has('b/1')).toBe(false)
  })

  test('lists a prefix in the order of keys, and nothing that merely resembles it', async () => {
    const storage = await open()
    const revisions = new Map<string, number>()
    for (const key of ['a/2', 'a/1', 'ab/1', 'a%/1', 'b/1']) {
      revisions.set(key, (await put(storage, key, key)).revision)
    }
    const { items, revision } = await storage.list('a/')
    expect(items.map((item) => [item.key, item.value, item.revision])).toEqual(
      ['a/1', 'a/2'].map((key) => [key, key, revisions.get(key)]),
    )
    expect(revision).toBe(revisions.get('b/1'))
    expect((await storage.list('')).items).toHaveLength(5)
    expect((await storage.list('a%')).items.map((item) => item.key)).toEqual(['a%/1'])
  })

  test('changes nothing when a compare does not hold', async () => {
    const storage = await open()
    const { revision: first } = await put(storage, 'k', '1')
    const refused = await storage.transact(
      [{ key: 'k', revision: 0 }],
      [
        { key: 'k', value: '2' },
        { key: 'other', value: 'x' },
      ],
    )
    expect(refused).toEqual({ ok: false, revision: first })
    expect((await storage.list('')).items).toEqual([{ key: 'k', value: '1', revision: first }])
    const changed = await storage.transact([{ key: 'k', revision: first }], [{ key: 'k', value: '2' }])
    expect(changed.ok).toBe(true)
    expect(changed.revision).toBeGreaterThan(first)
  })

  test('lets exactly one of many concurrent transactions with the same compare through', async () => {
    const storage = await open()
    const { revision } = await put(storage, 'counter', '0')
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        storage.transact([{ key: 'counter', revision }], [{ key: 'counter', value: `${i}` }]),
      ),
    )
    const winners = results.filter((result) => result.ok)
    expect(winners).toHaveLength(1)
    expect(storage.status().revision).toBe(winners[0]!.revision)
  })

  test('compares a prefix with a revision, of which it holds no later one', async () => {
    const storage = await open()
    await put(storage, 'a/1', 'x')
    const { revision } = await put(storage, 'b/1', 'x')
    const unchanged = { prefix: 'a/', unchangedSince: revision }
    const { revision: changed } = await put(storage, 'ab', 'x')
    expect((await storage.transact([unchanged], [{ key: 'a/2', value: 'y' }])).ok).toBe(true)
    expect((await storage.transact([unchanged], [{ key: 'a/3', value: 'z' }])).ok).toBe(false)
    expect((await storage.transact([{ prefix: 'ab', unchangedSince: changed - 1 }], [])).ok).toBe(false)
    expect((await storage.transact([{ prefix: 'none/', unchangedSince: 0 }], [])).ok).toBe(true)
    expect((await storage.list('a/')).items.map(({ key }) => key)).toEqual(['a/1', 'a/2'])
  })

  test('announces a key until it is ended, and tells watches of it as of any other', async () => {
    const storage = await open()
    const seen: unknown[] = []
    await storage.watch('', storage.status().revision, ({ changes }) => seen.push(...changes))
    const announcement = await storage.announce('registry/a', '1')
    await announcement.update('2')
    expect((await storage.list('registry/')).items).toMatchObject([{ key: 'registry/a', value: '2' }])
    await announcement.end()
    await announcement.end()
    await announcement.lost
    await expect(announcement.update('3')).rejects.toThrow(StorageError)
    expect((await storage.list('registry/')).items).toEqual([])
    expect(seen).toEqual(['1', '2', undefined].map((value) => ({ key: 'registry/a', value })))
  })

  test('lets a later announcement of a key replace the one before', async () => {
    const storage = await open()
    const first = await storage.announce('registry/a', '1')
    const second = await storage.announce('registry/a', '2')
    await first.lost
    await expect(first.update('3')).rejects.toThrow(StorageError)
    await first.end()
    expect((await storage.list('registry/')).items).toMatchObject([{ value: '2' }])
    await second.end()
  })

  test('loses its announcements when it is closed', async () => {
    const storage = await open()
    const announcement = await storage.announce('registry/a', '1')
    await storage.close()
    await announcement.lost
    await expect(storage.announce('registry/a', '2')).rejects.toThrow(StorageError)
  })

  test('says that it can be written', async () => {
    const storage = await open()
    const stop = storage.onStatus(() => {})
    expect(storage.status()).toMatchObject({ writable: true })
    stop()
  })

  test('does not count a delete of nothing as a change', async () => {
    const storage = await open()
    const { revision } = await put(storage, 'a', '1')
    expect(await storage.transact([], [{ key: 'none', value: undefined }])).toEqual({ ok: true, revision })
    expect(await storage.transact([], [])).toEqual({ ok: true, revision })
  })

  test('tells a watch every later batch, whole, in order, filtered by prefix, before the write resolves', async () => {
    const storage = await open()
    const { oldest } = storage.status()
    const { revision: first } = await put(storage, 'a/1', '1')
    await put(storage, 'b/1', '1')
    const seen: Batch[] = []
    await storage.watch('a/', oldest, (batch) => seen.push(batch))
    expect(seen).toEqual([{ revision: first, changes: [{ key: 'a/1', value: '1' }] }])
    const { revision: second } = await storage.transact(
      [],
      [
        { key: 'a/2', value: '2' },
        { key: 'b/2', value: '2' },
        { key: 'a/1', value: undefined },
      ],
    )
    expect(seen.slice(1)).toEqual([
      {
        revision: second,
        changes: [
          { key: 'a/2', value: '2' },
          { key: 'a/1', value: undefined },
        ],
      },
    ])
  })

  test('is gap-free for a watch that begins at the revision of a list while writes go on', async () => {
    const storage = await open()
    const writes = Promise.all(Array.from({ length: 50 }, (_, i) => put(storage, `k/${i}`, 'x')))
    const { items, revision } = await storage.list('k/')
    const seen = new Set(items.map((item) => item.key))
    const revisions: number[] = []
    await storage.watch('k/', revision, (batch) => {
      revisions.push(batch.revision)
      for (const change of batch.changes) seen.add(change.key)
    })
    await writes
    expect(seen.size).toBe(50)
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b))
    expect(new Set(revisions).size).toBe(revisions.length)
  })

  test('stops telling a watch that was stopped', async () => {
    const storage = await open()
    const seen: Batch[] = []
    const stop = await storage.watch('', storage.status().revision, (batch) => seen.push(batch))
    await put(storage, 'a', '1')
    stop()
    await put(storage, 'a', '2')
    expect(seen).toHaveLength(1)
  })

  test('refuses a watch from before its history, naming where it begins', async () => {
    const storage = await open(20)
    const revisions: number[] = []
    for (let i = 0; i < 50; i++) revisions.push((await put(storage, 'k', `${i}`)).revision)
    const error = await storage.watch('', revisions[3]!, () => {}).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CompactedError)
    const { oldest } = storage.status()
    expect((error as CompactedError).oldest).toBe(oldest)
    expect(oldest).toBeGreaterThanOrEqual(revisions[29]!)
    const seen: number[] = []
    await storage.watch('', oldest, (batch) => seen.push(batch.revision))
    expect(seen).toEqual(revisions.filter((revision) => revision > oldest))
  })

  test('has one leader per name; the next leads when it resigns', async () => {
    const storage = await open()
    const first = await storage.campaign('reaper')
    let second = false
    const waiting = storage.campaign('reaper').then((leadership) => {
      second = true
      return leadership
    })
    await storage.campaign('other')
    expect(second).toBe(false)
    await first.resign()
    await first.lost
    await (await waiting).resign()
    expect(second).toBe(true)
  })

  test('refuses everything after it was closed, and more than a transaction may have', async () => {
    const storage = await open()
    const operations = Array.from({ length: MOST_OPERATIONS + 1 }, (_, i) => ({ key: `k/${i}`, value: 'x' }))
    await expect(storage.transact([], operations)).rejects.toThrow(StorageError)
    const compares = Array.from({ length: MOST_COMPARES + 1 }, (_, i) => ({ key: `k/${i}`, revision: 0 }))
    await expect(storage.transact(compares, [])).rejects.toThrow(StorageError)
    expect((await storage.list('')).items).toEqual([])
    await storage.close()
    await expect(put(storage, 'a', '1')).rejects.toThrow(StorageError)
    await expect(storage.list('')).rejects.toThrow(StorageError)
    await expect(storage.watch('', 0, () => {})).rejects.toThrow(StorageError)
  })
})

describe('the SQLite file', () => {
  test('keeps items, epoch, revision and history over a reopening', async () => {
    const path = join(directory(), 'r.db')
    const first = await SqliteStorage.open({ path })
    await first.transact([], [{ key: 'a', value: '1' }])
    await first.transact([], [{ key: 'b', value: '2' }])
    const pending = first.transact([], [{ key: 'a', value: undefined }])
    await first.close()
    await pending
    const second = await SqliteStorage.open({ path })
    opened.push(second)
    expect(second.status().epoch).toBe(first.status().epoch)
    expect(second.status().revision).toBe(3)
    expect((await second.list('')).items).toEqual([{ key: 'b', value: '2', revision: 2 }])
    const seen: Batch[] = []
    await second.watch('', 1, (batch) => seen.push(batch))
    expect(seen).toEqual([
      { revision: 2, changes: [{ key: 'b', value: '2' }] },
      { revision: 3, changes: [{ key: 'a', value: undefined }] },
    ])
  })

  test('forgets what a run announced that was killed', async () => {
    const path = join(directory(), 'r.db')
    const first = await SqliteStorage.open({ path })
    await first.announce('registry/a', '1')
    await (await first.announce('registry/b', '1')).end()
    // As after kill -9: the file as it was while the first run was going on.
    const copy = join(directory(), 'r.db')
    for (const end of ['', '-wal']) cpSync(`${path}${end}`, `${copy}${end}`)
    const second = await SqliteStorage.open({ path: copy })
    opened.push(first, second)
    expect((await second.list('')).items).toEqual([])
    const seen: Batch[] = []
    await second.watch('', 3, (batch) => seen.push(batch))
    expect(seen).toEqual([{ revision: 4, changes: [{ key: 'registry/a', value: undefined }] }])
  })

  test('is readable by its owner only, with its side files', async () => {
    const path = join(directory(), 'state', 'r.db')
    const storage = await SqliteStorage.open({ path })
    opened.push(storage)
    await storage.transact([], [{ key: 'a', value: '1' }])
    for (const file of [path, `${path}-wal`]) {
      expect(existsSync(file)).toBe(true)
      expect(statSync(file).mode & 0o777).toBe(0o600)
    }
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700)
  })

  test('refuses a second registry on the same file, and a file that is no database', async () => {
    const path = join(directory(), 'r.db')
    opened.push(await SqliteStorage.open({ path }))
    await expect(SqliteStorage.open({ path })).rejects.toThrow(/another registry is running/)
    const { writeFileSync } = await import('node:fs')
    const garbage = join(directory(), 'g.db')
    writeFileSync(garbage, 'this is no database, and long enough to be seen as none of them')
    await expect(SqliteStorage.open({ path: garbage })).rejects.toThrow(StorageError)
  })
})
