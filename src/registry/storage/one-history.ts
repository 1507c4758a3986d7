/**
 * A store for as long as its history goes on. Once a backup was restored under it, it passes on no
 * change of the other history, and takes no write.
 */
import { StorageError } from './errors.ts'
import type {
  Announcement,
  Batch,
  Compare,
  Item,
  Leadership,
  Operation,
  Storage,
  StorageStatus,
  TransactionResult,
} from './storage.ts'

const OVER = 'the store was replaced by a backup'

export class OneHistory implements Storage {
  readonly eraseFormer?: (prefixes: readonly string[]) => Promise<void>
  readonly #storage: Storage
  /** The last one of this history. */
  #status: StorageStatus
  #over = false
  readonly #listeners = new Set<(status: StorageStatus) => void>()

  /** `over` is called once, before any watcher hears of the other history. */
  constructor(storage: Storage, over: () => void) {
    this.#storage = storage
    this.#status = storage.status()
    if (storage.eraseFormer !== undefined) this.eraseFormer = (prefixes) => storage.eraseFormer!(prefixes)
    storage.onStatus((status) => {
      if (this.#over) return
      if (status.epoch === this.#status.epoch) this.#status = status
      else {
        this.#over = true
        this.#status = { ...this.#status, writable: false, reason: OVER, replaced: true }
        over()
      }
      for (const listener of [...this.#listeners]) listener(this.#status)
    })
  }

  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    this.#check()
    const result = await this.#storage.transact(compares, operations)
    // The caller would look for it in the state of this history.
    this.#check()
    return result
  }

  list(prefix: string): Promise<{ readonly items: readonly Item[]; readonly revision: number }> {
    return this.#storage.list(prefix)
  }

  scan(prefix: string): AsyncIterable<readonly Item[]> {
    return this.#storage.scan(prefix)
  }

  watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    return this.#storage.watch(prefix, afterRevision, (batch) => {
      if (!this.#over) listener(batch)
    })
  }

  async campaign(name: string): Promise<Leadership> {
    this.#check()
    return await this.#storage.campaign(name)
  }

  async announce(key: string, value: string): Promise<Announcement> {
    this.#check()
    return await this.#storage.announce(key, value)
  }

  status(): StorageStatus {
    return this.#over ? this.#status : this.#storage.status()
  }

  onStatus(listener: (status: StorageStatus) => void): () => void {
    const own = (status: StorageStatus): void => listener(status)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  close(): Promise<void> {
    this.#listeners.clear()
    return this.#storage.close()
  }

  #check(): void {
    if (this.#over) throw new StorageError(OVER)
  }
}
