/**
 * The whole state of a store at one revision, as the lines of a backup, while the store goes on:
 * the records are read in parts, and what changes meanwhile follows them.
 */
import { isOfRun } from '../records.ts'
import { StorageError } from '../storage/errors.ts'
import type { Batch, Item, Storage } from '../storage/storage.ts'
import { endLine, recordLine } from './lines.ts'

/** Of changes that wait for a slow reader. */
const LONGEST_BACKLOG = 32 * 1024 * 1024

/** @throws StorageError if the store cannot be read, or the reader is too slow for its changes */
export async function* exportState(storage: Storage): AsyncGenerator<string> {
  const changes = new Changes()
  const { epoch, revision: begun } = storage.status()
  const stop = await storage.watch('', begun, (batch) => changes.add(batch))
  let lines = 0
  const write = (some: readonly string[]): string => {
    lines += some.length
    return some.join('')
  }
  try {
    for await (const items of storage.scan('')) yield write([...changes.take(), ...linesOf(items)])
    // Both in one turn, so that the state is that of the revision.
    const last = write(changes.take())
    const { epoch: now, revision } = storage.status()
    if (now !== epoch) throw new StorageError('the store was restored meanwhile; try again')
    yield last + endLine({ epoch, revision, lines })
  } finally {
    stop()
  }
}

function linesOf(items: readonly Item[]): string[] {
  return items.filter(({ key }) => !isOfRun(key)).map(({ key, value, revision }) => recordLine(key, value, revision))
}

/** The changes that were not written yet. */
class Changes {
  #lines: string[] = []
  #size = 0

  add({ revision, changes }: Batch): void {
    for (const { key, value } of changes) {
      if (isOfRun(key)) continue
      const line = recordLine(key, value, revision)
      this.#size += line.length
      // The next take fails.
      if (this.#size <= LONGEST_BACKLOG) this.#lines.push(line)
    }
  }

  take(): readonly string[] {
    if (this.#size > LONGEST_BACKLOG) {
      throw new StorageError('the reader of the backup is slower than the changes of the store; try again')
    }
    const lines = this.#lines
    this.#lines = []
    this.#size = 0
    return lines
  }
}
