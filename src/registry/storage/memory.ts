/** The engine for tests and for registries whose state may die with them. */
import { randomUUID } from 'node:crypto'
import { ChangeLog } from './change-log.ts'
import { StorageError } from './errors.ts'
import { LocalAnnouncements } from './local-announcements.ts'
import { LocalElections } from './local-elections.ts'
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
} from './storage.ts'
import { checkLimits } from './transaction-limits.ts'
import { StorageWatches } from './watches.ts'

export class MemoryStorage implements Storage {
  readonly #epoch = randomUUID()
  readonly #items = new Map<string, Item>()
  readonly #log: ChangeLog
  readonly #watches = new StorageWatches()
  readonly #elections = new LocalElections()
  readonly #announcements = new LocalAnnouncements((operations) => this.transact([], operations))
  #revision = 0
  #closed = false

  /** `history`: how many batches a watch may go back; default 10,000. */
  constructor(options: { history?: number } = {}) {
    this.#log = new ChangeLog(options.history ?? HISTORY)
  }

  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    this.#checkOpen()
    checkLimits(compares, operations)
    if (!compares.every((compare) => this.#holds(compare))) return { ok: false, revision: this.#revision }
    const changes = operations.filter((one) => one.value !== undefined || this.#items.has(one.key))
    if (changes.length === 0) return { ok: true, revision: this.#revision }
    const revision = ++this.#revision
    for (const { key, value } of changes) {
      if (value === undefined) this.#items.delete(key)
      else this.#items.set(key, { key, value, revision })
    }
    const batch = { revision, changes }
    this.#log.append(batch)
    this.#watches.tell(batch)
    return { ok: true, revision }
  }

  async list(prefix: string): Promise<{ items: readonly Item[]; revision: number }> {
    this.#checkOpen()
    const items = [...this.#items.values()].filter((item) => item.key.startsWith(prefix))
    items.sort((a, b) => (a.key < b.key ? -1 : 1))
    return { items, revision: this.#revision }
  }

  async *scan(prefix: string): AsyncGenerator<readonly Item[]> {
    let part: Item[] = []
    // What is put while it runs is at the end of the map, and read as well.
    for (const item of this.#items.values()) {
      if (!item.key.startsWith(prefix)) continue
      part.push(item)
      if (part.length < SCANNED_AT_ONCE) continue
      yield part
      part = []
      await new Promise((resolve) => setImmediate(resolve))
      this.#checkOpen()
    }
    yield part
  }

  async watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    this.#checkOpen()
    return this.#watches.add(prefix, listener, this.#log.after(afterRevision))
  }

  campaign(name: string): Promise<Leadership> {
    return this.#elections.campaign(name)
  }

  announce(key: string, value: string): Promise<Announcement> {
    return this.#announcements.announce(key, value)
  }

  /** Nothing is on a disk. */
  async eraseFormer(): Promise<void> {}

  status(): StorageStatus {
    return {
      engine: 'memory',
      epoch: this.#epoch,
      continues: false,
      revision: this.#revision,
      oldest: this.#log.oldest,
      writable: true,
    }
  }

  /** It never changes. */
  onStatus(): () => void {
    return () => {}
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await this.transact([], this.#announcements.clear())
    this.#closed = true
    this.#watches.clear()
  }

  #holds(compare: Compare): boolean {
    if ('key' in compare) return (this.#items.get(compare.key)?.revision ?? 0) === compare.revision
    for (const { key, revision } of this.#items.values()) {
      if (revision > compare.unchangedSince && key.startsWith(compare.prefix)) return false
    }
    return true
  }

  #checkOpen(): void {
    if (this.#closed) throw new StorageError('the store is closed')
  }
}
