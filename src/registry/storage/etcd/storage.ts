/** The engine on etcd, which several registries share. */
import { randomUUID } from 'node:crypto'
import { ChangeLog } from '../change-log.ts'
import { StorageError } from '../errors.ts'
import {
  type Announcement,
  type Batch,
  type Compare,
  HISTORY,
  type Item,
  type Leadership,
  type Operation,
  SCANNED_AT_ONCE,
  type Storage,
  type StorageStatus,
  type TransactionResult,
} from '../storage.ts'
import { StorageWatches } from '../watches.ts'
import { EtcdClient } from './client.ts'
import { checkEpoch, epochIn } from './epoch.ts'
import { EtcdFailure } from './failure.ts'
import { ChangeFeed, type KeyChange } from './feed.ts'
import { Health } from './health.ts'
import { Holdings } from './holdings.ts'
import { isOwn, OWN_KEYS } from './keys.ts'
import { ProcessLease } from './lease.ts'
import type { ResolvedEtcdOptions } from './options.ts'
import { type Page, pages } from './pages.ts'
import { reachEtcd } from './reach.ts'
import { removeStaleWriters } from './stale-writers.ts'
import { Code } from './status-codes.ts'
import { asStorageError, Writer } from './writer.ts'

const PROBE_MS = 1_000
/** Revisions that a start reads again, for sessions that come from another registry. */
const HISTORY_AT_START = 100

export class EtcdStorage implements Storage {
  readonly #client: EtcdClient
  readonly #health = new Health(() => this.#healthChanged())
  readonly #feed: ChangeFeed
  readonly #writer: Writer
  readonly #lease: ProcessLease
  readonly #holdings: Holdings
  readonly #watches = new StorageWatches()
  readonly #listeners = new Set<(status: StorageStatus) => void>()
  readonly #history: number
  #log: ChangeLog
  #epoch: string | undefined
  #continues = false
  #probing: Promise<void> | undefined
  #closing: Promise<void> | undefined

  /**
   * Resolves when it knows all keys and follows their changes. `history`: how many revisions a
   * watch may go back; default 10,000.
   *
   * @throws StorageError naming what is wrong, and the option
   */
  static async open(options: ResolvedEtcdOptions, history = HISTORY): Promise<EtcdStorage> {
    const storage = new EtcdStorage(new EtcdClient(options), history)
    try {
      await storage.#start()
      return storage
    } catch (error) {
      await storage.close()
      throw asStorageError(error)
    }
  }

  private constructor(client: EtcdClient, history: number) {
    this.#client = client
    this.#history = history
    this.#log = new ChangeLog(history)
    this.#feed = new ChangeFeed(client, {
      batch: (batch) => this.#tell(batch),
      changed: (change) => this.#keyChanged(change),
      following: (reason) => (reason === undefined ? this.#health.well('watch') : this.#health.unwell('watch', reason)),
      forgotten: (revision) => {
        this.#log = new ChangeLog(history, revision)
      },
      verify: () => this.#verify(),
    })
    this.#writer = new Writer(client, this.#feed, this.#health, randomUUID())
    this.#lease = new ProcessLease(client, (reason) => this.#beating(reason))
    this.#holdings = new Holdings(client, this.#feed, this.#writer, this.#lease)
  }

  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    this.#checkOpen()
    return await this.#writer.transact({ compares, operations })
  }

  async list(prefix: string): Promise<{ items: readonly Item[]; revision: number }> {
    const items: Item[] = []
    const revision = this.#feed.changedAt
    for await (const part of this.scan(prefix)) items.push(...part)
    return { items, revision }
  }

  async *scan(prefix: string): AsyncGenerator<readonly Item[]> {
    this.#checkOpen()
    try {
      for await (const { kvs } of this.#pages(prefix)) yield this.#itemsOf(kvs)
    } catch (error) {
      throw asStorageError(error)
    }
  }

  async watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    this.#checkOpen()
    return this.#watches.add(prefix, listener, this.#log.after(afterRevision))
  }

  async campaign(name: string): Promise<Leadership> {
    return await this.#holdings.campaign(name)
  }

  async announce(key: string, value: string): Promise<Announcement> {
    this.#checkOpen()
    return await this.#holdings.announce(key, value)
  }

  status(): StorageStatus {
    const { reason } = this.#health
    return {
      engine: 'etcd',
      epoch: this.#epoch ?? '',
      continues: this.#continues,
      revision: this.#feed.changedAt,
      oldest: this.#log.oldest,
      writable: reason === undefined,
      ...(reason !== undefined && { reason }),
    }
  }

  onStatus(listener: (status: StorageStatus) => void): () => void {
    const own = (status: StorageStatus): void => listener(status)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  close(): Promise<void> {
    this.#closing ??= this.#end()
    return this.#closing
  }

  async #start(): Promise<void> {
    await reachEtcd(this.#client)
    const { epoch, isNew } = await checkEpoch(this.#client)
    this.#epoch = epoch
    this.#continues = !isNew
    this.#log = new ChangeLog(this.#history, await this.#feed.start(Math.min(this.#history, HISTORY_AT_START)))
    // The feed delivers this write last, so then it knows everything before.
    await this.#writer.probe()
    await this.#lease.current()
    removeStaleWriters(this.#client).catch(() => {})
  }

  async #end(): Promise<void> {
    this.#watches.clear()
    this.#listeners.clear()
    if (this.#health.reason !== undefined) this.#writer.giveUp(new StorageError(this.#health.reason))
    if (await this.#writer.close()) await this.#lease.close()
    this.#holdings.close()
    this.#client.close()
    this.#health.close()
    await Promise.all([this.#feed.close(), this.#lease.ended(), this.#probing])
  }

  /** As of what the feed has delivered, so that a watch goes on from there. */
  async *#pages(prefix: string): AsyncGenerator<Page> {
    for (let tries = 0; ; tries++) {
      const serializable = this.#health.reason !== undefined
      let begun = false
      try {
        const revision = this.#feed.revision
        for await (const page of pages(this.#client, prefix, { revision, largest: SCANNED_AT_ONCE, serializable })) {
          begun = true
          yield page
        }
        return
      } catch (error) {
        const compacted = error instanceof EtcdFailure && error.code === Code.outOfRange
        if (!compacted || begun || tries > 0) throw error
        // Others write much beside the prefix: a write below it takes the feed to the present.
        await this.#writer.probe()
      }
    }
  }

  #itemsOf(kvs: Page['kvs']): Item[] {
    const from = Buffer.byteLength(this.#client.prefix)
    const items: Item[] = []
    for (const { key, value, mod_revision } of kvs) {
      const name = key.toString('utf8', from)
      if (!isOwn(name)) items.push({ key: name, value: value.toString(), revision: Number(mod_revision) })
    }
    return items
  }

  #tell(batch: Batch): void {
    this.#log.append(batch)
    this.#watches.tell(batch)
  }

  #keyChanged(change: KeyChange): void {
    this.#holdings.changed(change)
    if (change.key === OWN_KEYS.epoch && change.value !== undefined) this.#renew(epochIn(change.value))
  }

  async #verify(): Promise<number | undefined> {
    const delivered = this.#feed.revision
    const { epoch, revision } = await checkEpoch(this.#client, { epoch: this.#epoch!, delivered })
    if (epoch === this.#epoch) return revision
    this.#log = new ChangeLog(this.#history, 0)
    this.#renew(epoch)
    return undefined
  }

  #renew(epoch: string): void {
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#continues = false
    this.#announceStatus()
  }

  #beating(reason: string | undefined): void {
    if (reason === undefined) return
    this.#health.unwell('write', reason)
    this.#probe()
  }

  #healthChanged(): void {
    const { reason } = this.#health
    if (reason !== undefined) {
      this.#writer.giveUp(new StorageError(reason))
      this.#probe()
    }
    this.#announceStatus()
  }

  /** Until the store can be written again. */
  #probe(): void {
    this.#probing ??= this.#probeUntilWell().finally(() => {
      this.#probing = undefined
    })
  }

  async #probeUntilWell(): Promise<void> {
    for (let tries = 0; !this.#client.closing.aborted; tries++) {
      const done = await this.#writer.probe().then(
        () => true,
        () => false,
      )
      if (done && this.#health.reason === undefined) return
      await this.#client.pause(tries + this.#client.endpoints.size, PROBE_MS)
    }
  }

  #announceStatus(): void {
    const status = this.status()
    for (const listener of [...this.#listeners]) listener(status)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new StorageError('the store is closed')
  }
}
