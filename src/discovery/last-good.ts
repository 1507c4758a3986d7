/**
 * The last good snapshot of everything this process watches, kept on disk, so that it can start while no registry answers. Written a
 * moment after a change, never on the way of a call; read once, and believed no more than a message from the network.
 */
import type { Clock, Timer } from '../core/clock.ts'
import { readStoredView, type ServiceView, SnapshotRejected } from './snapshot.ts'

/** Where the bytes go: a state directory, or memory. */
export interface StateStore {
  readState(name: string): Promise<Buffer | undefined>
  writeState(name: string, bytes: Buffer): Promise<void>
}

const NAME = 'snapshot.json'
const FORMAT = 1
/** Changes within this time are written once. */
const WRITE_DELAY_MS = 500
/** An older snapshot is not believed: its certificates have long expired. */
const LONGEST_AGE_MS = 72 * 3_600_000

export interface LastGoodObserver {
  /** The file was there and could not be used, or could not be written. */
  failed(reason: string): void
}

export class LastGood {
  readonly #store: StateStore
  readonly #clock: Clock
  readonly #observer: LastGoodObserver
  readonly #trustDomain: string
  #timer: Timer | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(store: StateStore, trustDomain: string, clock: Clock, observer: LastGoodObserver) {
    this.#store = store
    this.#trustDomain = trustDomain
    this.#clock = clock
    this.#observer = observer
  }

  /** What the last run knew; empty if there is nothing to believe. Every view is flagged stale. */
  async load(): Promise<ReadonlyMap<string, ServiceView>> {
    const views = new Map<string, ServiceView>()
    try {
      const bytes = await this.#store.readState(NAME)
      if (bytes === undefined) return views
      const stored = JSON.parse(bytes.toString('utf8')) as Record<string, unknown> | null
      if (stored?.format !== FORMAT || stored.trustDomain !== this.#trustDomain || !Array.isArray(stored.views)) {
        throw new SnapshotRejected('of another format or trust domain')
      }
      const age = this.#clock.wallNow() - Number(stored.writtenAt)
      if (!(age < LONGEST_AGE_MS)) throw new SnapshotRejected(`written ${Math.round(age / 3_600_000)} h ago`)
      for (const entry of stored.views) {
        const view = readStoredView(entry)
        views.set(view.service, view)
      }
      return views
    } catch (error) {
      this.#observer.failed(`the snapshot on disk was not used: ${error instanceof Error ? error.message : 'unreadable'}`)
      return new Map()
    }
  }

  /** Writes soon; `views` is asked when it is written. */
  changed(views: () => Iterable<ServiceView>): void {
    this.#timer ??= this.#clock.startBackgroundTimer(WRITE_DELAY_MS, () => void this.#write(views), undefined)
  }

  /** Writes what is due and waits for it. */
  async close(views: () => Iterable<ServiceView>): Promise<void> {
    if (this.#timer !== undefined) {
      this.#clock.stopTimer(this.#timer)
      await this.#write(views)
    }
    await this.#writing
  }

  #write(views: () => Iterable<ServiceView>): Promise<void> {
    this.#timer = undefined
    const stored = {
      format: FORMAT,
      trustDomain: this.#trustDomain,
      writtenAt: this.#clock.wallNow(),
      views: [...views()],
    }
    const bytes = Buffer.from(JSON.stringify(stored))
    this.#writing = this.#writing.then(() =>
      this.#store.writeState(NAME, bytes).catch((error: unknown) => {
        this.#observer.failed(`the snapshot was not written: ${error instanceof Error ? error.message : 'unknown'}`)
      }),
    )
    return this.#writing
  }
}
