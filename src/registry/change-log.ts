/** The recent batches of an engine, and who watches them: the half that all embedded engines share. */
import { type Batch, CompactedError, type Leadership, type Operation } from './storage.ts'

interface Watcher {
  readonly prefix: string
  readonly listener: (batch: Batch) => void
}

export class ChangeLog {
  readonly #capacity: number
  #batches: Batch[] = []
  #watchers = new Set<Watcher>()
  #oldest: number

  /** `oldest`: the revision after which the history begins. */
  constructor(capacity: number, oldest: number, batches: readonly Batch[] = []) {
    this.#capacity = capacity
    this.#oldest = oldest
    for (const batch of batches) this.#keep(batch)
  }

  get oldest(): number {
    return this.#oldest
  }

  /** Keeps the batch and tells the watchers, synchronously. A watcher that throws harms nobody else. */
  append(batch: Batch): void {
    this.#keep(batch)
    for (const watcher of [...this.#watchers]) if (this.#watchers.has(watcher)) tell(watcher, batch)
  }

  watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): () => void {
    if (afterRevision < this.#oldest) throw new CompactedError(afterRevision, this.#oldest)
    const watcher = { prefix, listener }
    this.#watchers.add(watcher)
    for (const batch of this.#batches) if (batch.revision > afterRevision) tell(watcher, batch)
    return () => this.#watchers.delete(watcher)
  }

  close(): void {
    this.#watchers.clear()
  }

  #keep(batch: Batch): void {
    this.#batches.push(batch)
    if (this.#batches.length <= this.#capacity) return
    // In one cut per tenth of the capacity: shifting one by one would move the whole array at every write.
    const dropped = this.#batches.splice(0, Math.max(1, Math.floor(this.#capacity / 10)))
    this.#oldest = dropped.at(-1)!.revision
  }
}

function tell(watcher: Watcher, batch: Batch): void {
  const changes = batch.changes.filter((change: Operation) => change.key.startsWith(watcher.prefix))
  if (changes.length === 0) return
  try {
    watcher.listener(changes.length === batch.changes.length ? batch : { revision: batch.revision, changes })
  } catch (error) {
    // Thrown where it is seen, but out of the way of the other watchers and of the write that caused it.
    queueMicrotask(() => {
      throw error
    })
  }
}

/** Leadership within one process: whoever asks first leads, the others wait in line. */
export class LocalElections {
  #lines = new Map<string, Promise<void>>()

  async campaign(name: string): Promise<Leadership> {
    const before = this.#lines.get(name) ?? Promise.resolve()
    let resign = (): void => {}
    const lost = new Promise<void>((resolve) => {
      resign = resolve
    })
    this.#lines.set(
      name,
      before.then(() => lost),
    )
    await before
    return {
      lost,
      resign: async () => resign(),
    }
  }
}
