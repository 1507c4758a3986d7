/** Writes that etcd has applied, but whose answers are lost on the way back. */
import { createConnection, createServer, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { check } from '../../../../src/options/fields.ts'
import { etcdStore } from '../../../../src/registry/storage/etcd/options.ts'
import { EtcdStorage } from '../../../../src/registry/storage/etcd/storage.ts'
import type { Compare, Operation, TransactionResult } from '../../../../src/registry/storage/storage.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../../../rigs/etcd.ts'

/** A path that passes requests on and, while it is deaf, loses what comes back and then breaks. */
class DeafPath {
  readonly #server = createServer((near) => this.#accept(near))
  readonly #port: number
  #deaf = false
  lost = 0

  constructor(port: number) {
    this.#port = port
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `etcd://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  /** Until something is lost. */
  loseNext(): void {
    this.#deaf = true
  }

  close(): void {
    this.#server.close()
  }

  #accept(near: Socket): void {
    const far = createConnection(this.#port, '127.0.0.1')
    for (const socket of [near, far]) {
      socket.on('error', () => {})
      socket.on('close', () => [near, far].map((one) => one.destroy()))
    }
    near.pipe(far)
    far.on('data', (bytes: Buffer) => {
      if (!this.#deaf) return void near.write(bytes)
      // Frames without content are answers to pings and windows.
      if (bytes.length < 60) return
      this.lost += 1
      this.#deaf = false
      near.resetAndDestroy()
    })
  }
}

describe.skipIf(WITHOUT_ETCD)(withEtcd('an answer of etcd that is lost'), { timeout: 180_000 }, () => {
  let cluster: EtcdCluster
  let stores = 0
  const closers: (() => unknown)[] = []

  beforeAll(async () => {
    cluster = await EtcdCluster.start()
  }, 60_000)
  afterAll(() => cluster.close())
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })

  async function open(): Promise<{ near: EtcdStorage; storage: EtcdStorage; path: DeafPath }> {
    const store = `store-${stores++}`
    const path = new DeafPath(cluster.nodes[0]!.port)
    closers.push(() => path.close())
    const opened: EtcdStorage[] = []
    for (const url of [cluster.url, await path.open()]) {
      const storage = await EtcdStorage.open(check(etcdStore(), `${url}/${store}`, 'test'))
      closers.push(() => storage.close())
      opened.push(storage)
    }
    return { near: opened[0]!, storage: opened[1]!, path }
  }

  test('is asked for again: each write is made once, with the outcome that it had', async () => {
    const { near, storage, path } = await open()
    const puts: string[] = []
    await near.watch('', near.status().revision, ({ changes }) => puts.push(...changes.map(({ key }) => key)))
    const { revision } = await near.transact([], [{ key: 'taken', value: '1' }])
    for (let round = 0; round < 10; round++) {
      const key = `k/${round}`
      const before = path.lost
      path.loseNext()
      const writes: [Compare[], Operation[]][] = [
        [[{ key, revision: 0 }], [{ key, value: '1' }]],
        [[{ key: 'taken', revision: 0 }], [{ key: 'never', value: '1' }]],
        [[{ prefix: 'taken', unchangedSince: revision }], [{ key: `${key}/prefix`, value: '1' }]],
        [[{ prefix: 'taken', unchangedSince: revision - 1 }], [{ key: 'never', value: '1' }]],
        [[], [{ key: 'none', value: undefined }]],
      ]
      const results: TransactionResult[] = await Promise.all(writes.map((write) => storage.transact(...write)))
      expect(results.map(({ ok }) => ok)).toEqual([true, false, true, false, true])
      expect(path.lost).toBe(before + 1)
    }
    await expect.poll(() => puts.length).toBe(21)
    expect(new Set(puts).size).toBe(21)
    expect(puts).not.toContain('never')
  })

  test('of a counter never counts twice', async () => {
    const { near, storage, path } = await open()
    let known = (await near.transact([], [{ key: 'counter', value: '0' }])).revision
    for (let i = 1; i <= 20; i++) {
      if (i % 2 === 0) path.loseNext()
      const { ok, revision } = await storage.transact(
        [{ key: 'counter', revision: known }],
        [{ key: 'counter', value: `${i}` }],
      )
      expect(ok).toBe(true)
      known = revision
    }
    expect((await near.list('counter')).items).toMatchObject([{ value: '20', revision: known }])
  })
})
