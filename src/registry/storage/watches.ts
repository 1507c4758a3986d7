/**
 * Who watches an engine that is embedded: told of every batch at once, by prefix. What was before
 * is the engine's to replay.
 */
import type { Batch, Operation } from './storage.ts'

type Listener = (batch: Batch) => void

interface Watch {
  readonly prefix: string
  readonly listener: Listener
}

export class StorageWatches {
  readonly #watches = new Set<Watch>()

  /** Synchronously. A watch that throws harms no other. */
  tell(batch: Batch): void {
    for (const watch of [...this.#watches]) if (this.#watches.has(watch)) tell(watch, batch)
  }

  /** `missed`: the batches to tell first. Returns how to stop. */
  add(prefix: string, listener: Listener, missed: Iterable<Batch>): () => void {
    const watch = { prefix, listener }
    this.#watches.add(watch)
    for (const batch of missed) tell(watch, batch)
    return () => this.#watches.delete(watch)
  }

  clear(): void {
    this.#watches.clear()
  }
}

function tell(watch: Watch, batch: Batch): void {
  const { prefix } = watch
  const concerned = ({ key }: Operation): boolean => key.startsWith(prefix)
  const whole = prefix === '' || batch.changes.every(concerned)
  const changes = whole ? batch.changes : batch.changes.filter(concerned)
  if (changes.length === 0) return
  try {
    watch.listener(whole ? batch : { revision: batch.revision, changes })
  } catch (error) {
    // Thrown where it is seen, but out of the way of the other watchers and of the write that
    // caused it.
    queueMicrotask(() => {
      throw error
    })
  }
}
