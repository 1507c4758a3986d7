/**
 * Decides whether a store continues its last run, because only then may its history be resumed
 * (decision 0016). A clean shutdown leaves a mark; copies, restored backups and stores of killed
 * processes have no matching one.
 */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { StorageError } from './errors.ts'

/**
 * Changes with each start of the machine, so that a disk that went back with its machine does not
 * fit. Linux only.
 */
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

export class Incarnation {
  readonly #store: string
  readonly #mark: string
  /** Read before anything touches the file. */
  readonly continues: boolean

  /** @throws StorageError if there is a part of a store, which SQLite would take for a new one */
  constructor(store: string) {
    this.#store = store
    this.#mark = `${store}-run`
    const size = sizeOf(store)
    const log = sizeOf(`${store}-wal`)
    if (size === 0 && log > 0) throw new StorageError(partial(store, `its log ${store}-wal is there without it`))
    const mark = textOf(this.#mark)
    if (size === 0 && mark !== undefined)
      throw new StorageError(partial(store, `${this.#mark} shows that there was one`))
    this.continues = mark !== undefined && log === 0 && mark === this.#describe()
  }

  /** The run has begun: from now on the file may change. */
  begin(): void {
    rmSync(this.#mark, { force: true })
  }

  /**
   * The run has ended, and the file is closed. Without a mark the next run is another incarnation,
   * which is safe.
   */
  end(): void {
    try {
      const file = openSync(this.#mark, 'w', 0o600)
      try {
        writeSync(file, this.#describe())
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
    } catch {
      rmSync(this.#mark, { force: true })
    }
  }

  #describe(): string {
    const { dev, ino, size, ctimeNs } = statSync(this.#store, { bigint: true })
    return `${JSON.stringify([dev, ino, size, ctimeNs, (textOf(BOOT_ID) ?? '').trim()], (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )}\n`
  }
}

/** What to do about a store of which only a part is there. */
export function partial(store: string, evidence: string): string {
  return (
    `${store} is missing or lacks its data, but ${evidence}. A new store would make a new root, and every certificate would ` +
    'be worthless. Restore the whole data directory from a backup that was taken while the registry was stopped; to begin a ' +
    'new mesh, move the data directory away.'
  )
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
