/** Announcements of an embedded engine: ordinary keys that go when the store is closed. */
import { StorageError } from './errors.ts'
import type { Announcement, Operation } from './storage.ts'

/** Writes `operations`; `announced` are the keys that are then announced. */
type Write = (operations: readonly Operation[], announced: readonly string[]) => Promise<unknown>

interface Current {
  readonly lose: () => void
}

export class LocalAnnouncements {
  readonly #write: Write
  readonly #current = new Map<string, Current>()

  constructor(write: Write) {
    this.#write = write
  }

  async announce(key: string, value: string): Promise<Announcement> {
    const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
    const own: Current = { lose }
    const before = this.#current.get(key)
    this.#current.set(key, own)
    try {
      await this.#put(key, value)
    } catch (error) {
      if (this.#current.get(key) === own) this.#current.delete(key)
      throw error
    } finally {
      before?.lose()
    }
    return {
      lost,
      update: async (next) => {
        if (this.#current.get(key) !== own) throw new StorageError(`'${key}' is no longer announced`)
        await this.#put(key, next)
      },
      end: async () => {
        if (this.#current.get(key) !== own) return
        this.#current.delete(key)
        lose()
        await this.#write([{ key, value: undefined }], this.#keys)
      },
    }
  }

  /** Ends all. Returns what to write. */
  clear(): Operation[] {
    const operations = this.#keys.map((key) => ({ key, value: undefined }))
    for (const { lose } of this.#current.values()) lose()
    this.#current.clear()
    return operations
  }

  get #keys(): string[] {
    return [...this.#current.keys()]
  }

  async #put(key: string, value: string): Promise<void> {
    await this.#write([{ key, value }], this.#keys)
  }
}
