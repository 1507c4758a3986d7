/**
 * One registry's view of a store that several registries in one process share: its own
 * announcements, leaderships and watches, which end when the view is closed, killed or cut off.
 */
import { StorageError } from '../../src/registry/storage/errors.ts'
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
} from '../../src/registry/storage/storage.ts'

interface Held {
  readonly lose: () => void
  readonly release: () => Promise<void>
}

export class StorageView implements Storage {
  readonly #shared: Storage
  readonly #held = new Set<Held>()
  readonly #stops = new Set<() => void>()
  readonly #listeners = new Set<(status: StorageStatus) => void>()
  /** Batches that arrive while it is cut off or lags. */
  readonly #missed: (() => void)[] = []
  #revision: number | undefined
  #cut: string | undefined
  #lags = false
  #closed = false

  constructor(shared: Storage) {
    this.#shared = shared
  }

  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    this.#check()
    const result = await this.#shared.transact(compares, operations)
    this.#catchUp()
    return result
  }

  async list(prefix: string): ReturnType<Storage['list']> {
    this.#check()
    return await this.#shared.list(prefix)
  }

  scan(prefix: string): AsyncIterable<readonly Item[]> {
    this.#check()
    return this.#shared.scan(prefix)
  }

  async watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    this.#check()
    const stop = await this.#shared.watch(prefix, afterRevision, (batch) => {
      if (this.#cut === undefined && !this.#lags) listener(batch)
      else this.#missed.push(() => this.#stops.has(stopOnce) && listener(batch))
    })
    const stopOnce = (): void => {
      if (this.#stops.delete(stopOnce)) stop()
    }
    this.#stops.add(stopOnce)
    return stopOnce
  }

  async campaign(name: string): Promise<Leadership> {
    const leadership = await this.#shared.campaign(name)
    const { lost, ...held } = this.#hold(() => leadership.resign())
    // Won by a registry that has gone in the meantime.
    if (this.#closed || this.#cut !== undefined) await held.end()
    return { lost, resign: held.end }
  }

  async announce(key: string, value: string): Promise<Announcement> {
    this.#check()
    const announcement = await this.#shared.announce(key, value)
    const { lost, end, lose } = this.#hold(() => announcement.end())
    announcement.lost.then(lose)
    const update = async (next: string): Promise<void> => {
      this.#check()
      await announcement.update(next)
    }
    return { lost, update, end }
  }

  status(): StorageStatus {
    const status = this.#shared.status()
    if (this.#cut === undefined) return status
    return { ...status, revision: this.#revision!, writable: false, reason: this.#cut }
  }

  onStatus(listener: (status: StorageStatus) => void): () => void {
    const own = (status: StorageStatus): void => listener(status)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** Writes fail and batches wait, until `reconnect`. */
  cutOff(reason = 'cut off by the test'): void {
    this.#revision = this.#shared.status().revision
    this.#cut = reason
    this.#tell()
  }

  /** What it announced and led is taken from it, as from a process that is silent for too long. */
  async expire(): Promise<void> {
    const held = [...this.#held]
    this.#held.clear()
    for (const { lose } of held) lose()
    await Promise.all(held.map(({ release }) => release()))
  }

  reconnect(): void {
    this.#cut = undefined
    this.#catchUp()
    this.#tell()
  }

  /** Batches wait until its next transaction, as late as a store may deliver them. */
  lag(): void {
    this.#lags = true
  }

  /** The shared store stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const stop of [...this.#stops]) stop()
    this.#listeners.clear()
    await this.expire()
  }

  #catchUp(): void {
    this.#lags = false
    for (const deliver of this.#missed.splice(0)) deliver()
  }

  #hold(release: () => Promise<void>): { lost: Promise<void>; lose: () => void; end: () => Promise<void> } {
    const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
    const held = { lose, release }
    this.#held.add(held)
    const end = async (): Promise<void> => {
      if (!this.#held.delete(held)) return
      lose()
      await release()
    }
    return { lost, lose, end }
  }

  #check(): void {
    if (this.#closed) throw new StorageError('the store is closed')
    if (this.#cut !== undefined) throw new StorageError(this.#cut)
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.status())
  }
}
