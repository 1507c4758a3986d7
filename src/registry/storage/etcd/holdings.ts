/**
 * Keys that vanish with this process: announcements and leaderships, all on its one lease.
 */
import { StorageError } from '../errors.ts'
import type { Announcement, Leadership } from '../storage.ts'
import type { EtcdClient } from './client.ts'
import type { ChangeFeed, KeyChange } from './feed.ts'
import { OWN_KEYS } from './keys.ts'
import type { Lease, ProcessLease } from './lease.ts'
import { asStorageError, type Writer } from './writer.ts'

interface Held {
  readonly lease: string
  readonly lose: () => void
}

export class Holdings {
  readonly #client: EtcdClient
  readonly #feed: ChangeFeed
  readonly #writer: Writer
  readonly #lease: ProcessLease
  readonly #held = new Map<string, Held>()
  /** Candidates that wait for a leader to go. */
  readonly #vacant = new Map<string, Set<() => void>>()

  constructor(client: EtcdClient, feed: ChangeFeed, writer: Writer, lease: ProcessLease) {
    this.#client = client
    this.#feed = feed
    this.#writer = writer
    this.#lease = lease
  }

  /** @throws StorageError */
  async announce(key: string, value: string): Promise<Announcement> {
    const lease = await this.#lease.current().catch((error: unknown) => {
      throw asStorageError(error)
    })
    const { held, lost } = this.#hold(key, lease)
    try {
      await this.#put(key, value, held)
    } catch (error) {
      this.#drop(key, held)
      throw error
    }
    return {
      lost,
      update: async (next) => {
        if (this.#held.get(key) !== held) throw new StorageError(`'${key}' is no longer announced`)
        await this.#put(key, next, held)
      },
      end: () => this.#end(key, held),
    }
  }

  /** Resolves when this process leads, and not at all once the store is closed. */
  async campaign(name: string): Promise<Leadership> {
    const key = OWN_KEYS.election(name)
    for (let tries = 0; ; tries++) {
      if (this.#client.closing.aborted) return await new Promise<never>(() => {})
      try {
        const lease = await this.#lease.current()
        const operations = [{ key, value: JSON.stringify({ at: Date.now() }), lease: lease.id }]
        const { ok } = await this.#writer.transact({ compares: [{ key, revision: 0 }], operations })
        tries = 0
        // The feed has delivered the outcome, so it also knows whether the leader is gone again.
        if (!this.#feed.has(key)) continue
        if (ok) {
          const { held, lost } = this.#hold(key, lease)
          return { lost, resign: () => this.#end(key, held) }
        }
        await this.#vacancy(key)
      } catch {
        // It is no failure to wait for a store that is away.
        await this.#client.pause(tries + this.#client.endpoints.size, 1_000)
      }
    }
  }

  /** Follows the feed. */
  changed({ key, value, lease }: KeyChange): void {
    const held = this.#held.get(key)
    if (held !== undefined && (value === undefined || lease !== held.lease)) this.#drop(key, held)
    if (value !== undefined) return
    const candidates = this.#vacant.get(key)
    this.#vacant.delete(key)
    for (const wake of candidates ?? []) wake()
  }

  close(): void {
    for (const [key, held] of [...this.#held]) this.#drop(key, held)
  }

  #hold(key: string, lease: Lease): { held: Held; lost: Promise<void> } {
    const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
    const held = { lease: lease.id, lose }
    const before = this.#held.get(key)
    this.#held.set(key, held)
    before?.lose()
    lease.lost.then(() => this.#drop(key, held))
    return { held, lost }
  }

  #drop(key: string, held: Held): void {
    if (this.#held.get(key) === held) this.#held.delete(key)
    held.lose()
  }

  async #put(key: string, value: string, held: Held): Promise<void> {
    try {
      await this.#writer.transact({ compares: [], operations: [{ key, value, lease: held.lease }] })
    } catch (error) {
      if (/lease not found/.test(String((error as Error).message))) this.#drop(key, held)
      throw error
    }
    if (this.#held.get(key) !== held) throw new StorageError(`'${key}' is no longer announced`)
  }

  async #end(key: string, held: Held): Promise<void> {
    if (this.#held.get(key) !== held) return
    this.#drop(key, held)
    await this.#writer.transact({ compares: [], operations: [{ key, value: undefined }] })
  }

  #vacancy(key: string): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#vacant.get(key) ?? new Set()
      waiting.add(resolve)
      this.#vacant.set(key, waiting)
      this.#client.closing.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}
