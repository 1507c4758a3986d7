/**
 * Announces this registry to the others on its store, and again when the store took it for dead.
 * Its number of sessions is written when it has changed by more than a tenth.
 */
import type { Timer } from '../../core/clock.ts'
import { KEYS } from '../records.ts'
import type { RegistryRecord } from './fleet-records.ts'
import { Publication, type PublicationHost } from './publication.ts'

/** Between two writes of a changed number of sessions. */
const EVERY_MS = 5_000
const LOOK_MS = 500
const CHANGE = 0.1

export class Presence {
  readonly #host: PublicationHost
  readonly #sessions: () => number
  readonly #publication: Publication
  readonly #onChange: () => void
  #record: RegistryRecord
  #begun = false
  #timer: Timer | undefined

  /** `onChange`: whether others know of us has changed. */
  constructor(host: PublicationHost, record: RegistryRecord, sessions: () => number, onChange: () => void) {
    this.#host = host
    this.#record = record
    this.#sessions = sessions
    this.#onChange = onChange
    this.#publication = new Publication(host, KEYS.registry(record.id), EVERY_MS, onChange)
  }

  /** As others see it; the number of sessions is that of now. */
  get record(): RegistryRecord {
    return { ...this.#record, sessions: this.#sessions() }
  }

  get isAnnounced(): boolean {
    return this.#publication.isPublished
  }

  /** `announces`: there may be others. @throws StorageError if the store cannot be written */
  async begin(url: string, announces: boolean): Promise<void> {
    this.#record = { ...this.#record, url, sessions: this.#sessions() }
    if (!announces) return
    await this.#publication.begin(this.#record)
    this.#begun = true
    this.#look()
    this.#onChange()
  }

  /** The store can be written again. */
  retry(): void {
    this.#publication.retry()
  }

  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    await this.#publication.close()
  }

  #look(): void {
    this.#timer = this.#host.clock.startBackgroundTimer(LOOK_MS, () => this.#look(), undefined)
    const now = this.#sessions()
    const { sessions } = this.#record
    if (!this.#begun || Math.abs(now - sessions) <= CHANGE * sessions) return
    this.#record = { ...this.#record, sessions: now }
    this.#publication.set(this.#record)
  }
}
