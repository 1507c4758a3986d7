/**
 * A value of this registry that its peers read from the store, and that vanishes with it. Writes at
 * most once in `everyMs`, and nothing while nothing changes.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import type { RegistryState } from '../state.ts'
import type { Announcement } from '../storage/storage.ts'

/** After the store refused a write. */
const RETRY_MS = 1_000
/** After the store took this registry for dead. */
const AGAIN_MS = 100

export interface PublicationHost {
  readonly state: RegistryState
  readonly clock: Clock
  /** Gets the error of a store that cannot be written; it is tried again. */
  readonly failed: (error: unknown) => void
}

export class Publication {
  readonly #host: PublicationHost
  readonly #key: string
  readonly #everyMs: number
  /** JSON; `undefined`: nothing to say. */
  #wanted: string | undefined
  #written: string | undefined
  #announcement: Announcement | undefined
  #writing: Promise<void> | undefined
  #timer: Timer | undefined
  /** Not before, on the monotonic clock. */
  #nextAt = Number.NEGATIVE_INFINITY
  #closed = false

  readonly #onChange: () => void

  /** `onChange`: it is published now, or the store has taken this registry for dead. */
  constructor(host: PublicationHost, key: string, everyMs: number, onChange: () => void = () => {}) {
    this.#host = host
    this.#onChange = onChange
    this.#key = key
    this.#everyMs = everyMs
  }

  get isPublished(): boolean {
    return this.#announcement !== undefined
  }

  set(value: unknown): void {
    this.#wanted = value === undefined ? undefined : JSON.stringify(value)
    this.#pump()
  }

  /** The same, and resolves when it is written. @throws StorageError if it cannot be, once */
  async begin(value: unknown): Promise<void> {
    this.#wanted = JSON.stringify(value)
    await this.#write()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    await this.#writing
    await this.#announcement?.end().catch(this.#host.failed)
  }

  /** The store can be written again. */
  retry(): void {
    if (this.#announcement === undefined) this.#hasten(0)
  }

  #hasten(ms: number): void {
    const { clock } = this.#host
    if (this.#timer !== undefined) clock.stopTimer(this.#timer)
    this.#timer = undefined
    this.#nextAt = Math.min(this.#nextAt, clock.now() + ms)
    this.#pump()
  }

  #pump(): void {
    if (this.#closed || this.#writing !== undefined || this.#timer !== undefined || this.#wanted === this.#written)
      return
    const { clock } = this.#host
    const inMs = this.#nextAt - clock.now()
    if (inMs > 0) {
      this.#timer = clock.startBackgroundTimer(inMs, () => this.#due(), undefined)
      return
    }
    this.#nextAt = clock.now() + this.#everyMs
    this.#writing = this.#write()
      .catch((error) => {
        this.#nextAt = clock.now() + RETRY_MS
        if (!this.#closed) this.#host.failed(error)
      })
      .finally(() => {
        this.#writing = undefined
        this.#pump()
      })
  }

  #due(): void {
    this.#timer = undefined
    this.#pump()
  }

  async #write(): Promise<void> {
    const value = this.#wanted
    const current = this.#announcement
    if (value === undefined) {
      this.#announcement = undefined
      this.#written = undefined
      await current?.end()
    } else if (current !== undefined) {
      await current.update(value)
    } else {
      const announcement = await this.#host.state.store.announce(this.#key, value)
      this.#announcement = announcement
      void announcement.lost.then(() => this.#lost(announcement))
      this.#onChange()
    }
    this.#written = value
  }

  #lost(announcement: Announcement): void {
    if (this.#closed || this.#announcement !== announcement) return
    this.#announcement = undefined
    this.#written = undefined
    this.#onChange()
    // Others must not miss us for longer than it takes.
    this.#hasten(AGAIN_MS)
  }
}
