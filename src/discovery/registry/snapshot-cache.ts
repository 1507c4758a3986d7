/**
 * Keeps the last good snapshot of all watched services on disk, so that a process can start without
 * a registry. It is written after changes, never during a call, and read as strictly as a message.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { rootFingerprint } from '../../identity/join-token.ts'
import { unreadableIssue } from '../instance-reader.ts'
import { SnapshotRejected } from '../read-field.ts'
import type { ServiceView } from './service-view.ts'
import { readStoredView } from './stored-view.ts'

/** Where the bytes go: a state directory, or memory. */
export interface StateStore {
  readState(name: string): Promise<Buffer | undefined>
  writeState(name: string, bytes: Buffer): Promise<void>
}

/** What a process knows of the mesh. */
export interface CachedState {
  /** By service; flagged stale when it comes from the disk. */
  readonly views: ReadonlyMap<string, ServiceView>
  /** Whether the registry ran with `--dev`; `undefined`: it has not said. */
  readonly dev: boolean | undefined
}

const NOTHING: CachedState = Object.freeze({ views: new Map(), dev: undefined })
const NAME = 'snapshot.json'
const FORMAT = 2
/** Changes within this time are written once. */
const WRITE_DELAY_MS = 500
/**
 * A large mesh takes milliseconds to serialize. The next write waits 100 times as long, at most
 * 10 s.
 */
const WRITE_SHARE = 100
const LONGEST_DELAY_MS = 10_000
/** An older snapshot is not believed: its certificates have long expired. */
const LONGEST_AGE_MS = 72 * 3_600_000

export class SnapshotCache {
  readonly #store: StateStore
  readonly #roots: () => readonly string[]
  readonly #clock: Clock
  readonly #failed: (reason: string) => void
  /** Of services that this run has not asked for, when a registry last told of them; wall clock. */
  readonly #knownAt = new Map<string, number>()
  #timer: Timer | undefined
  #delayMs = WRITE_DELAY_MS
  #writing: Promise<void> = Promise.resolve()

  /**
   * A snapshot belongs to the authority whose root is among `roots` (PEM), whatever its trust
   * domain is called. Calls `failed` if the file is invalid or cannot be written.
   */
  constructor(store: StateStore, roots: () => readonly string[], clock: Clock, failed: (reason: string) => void) {
    this.#store = store
    this.#roots = roots
    this.#clock = clock
    this.#failed = failed
  }

  /** What the last run knew; empty without a valid snapshot. */
  async load(): Promise<CachedState> {
    try {
      const bytes = await this.#store.readState(NAME)
      return bytes === undefined ? NOTHING : this.#read(JSON.parse(bytes.toString('utf8')))
    } catch (error) {
      this.#failed(`the snapshot on disk was not used: ${error instanceof Error ? error.message : 'unreadable'}`)
      return NOTHING
    }
  }

  /** Writes soon, with what `known` returns then. */
  changed(known: () => CachedState): void {
    this.#timer ??= this.#clock.startBackgroundTimer(this.#delayMs, () => this.#write(known), undefined)
  }

  /** Writes what is due and waits for it. */
  async close(known: () => CachedState): Promise<void> {
    if (this.#timer !== undefined) {
      this.#clock.stopTimer(this.#timer)
      this.#write(known)
    }
    await this.#writing
  }

  #read(stored: Record<string, unknown> | null): CachedState {
    if (stored?.format !== FORMAT || !Array.isArray(stored.roots) || !Array.isArray(stored.views)) {
      throw new SnapshotRejected('of another format')
    }
    const ours = new Set<unknown>(this.#fingerprints())
    if (!stored.roots.some((root) => ours.has(root))) throw new SnapshotRejected('of another registry')
    const writtenAt = Number(stored.writtenAt)
    const ageMs = this.#clock.wallNow() - writtenAt
    if (!(ageMs < LONGEST_AGE_MS)) throw new SnapshotRejected(`written ${Math.round(ageMs / 3_600_000)} h ago`)
    const views = stored.views.flatMap((view) => this.#readView(view, writtenAt))
    return {
      views: new Map(views.map((view) => [view.service, view])),
      dev: typeof stored.dev === 'boolean' ? stored.dev : undefined,
    }
  }

  /** Drops a view that is invalid or too old; the others stay. */
  #readView(stored: unknown, writtenAt: number): ServiceView[] {
    try {
      const view = readStoredView(stored)
      const { knownAt = writtenAt } = stored as { knownAt?: unknown }
      if (typeof knownAt !== 'number' || !this.#isFresh(knownAt)) return []
      this.#knownAt.set(view.service, knownAt)
      const { policyIssue } = view.document
      if (policyIssue !== undefined) {
        this.#failed(`of the policy of ${view.service} on disk only a part was used: ${policyIssue}`)
      }
      const unread = unreadableIssue(view.endpoints)
      if (unread !== undefined) this.#failed(`of ${view.service} on disk, an instance was left out: ${unread}`)
      return [view]
    } catch (error) {
      this.#failed(`a service of the snapshot on disk was not used: ${(error as Error).message}`)
      return []
    }
  }

  #isFresh(at: number): boolean {
    return this.#clock.wallNow() - at < LONGEST_AGE_MS
  }

  /**
   * With the time when a registry last confirmed each view. Without it, a view that is not watched
   * would stay as new as the rest for ever.
   */
  *#storable(views: Iterable<ServiceView>, writtenAt: number): Generator<object> {
    for (const view of views) {
      const knownAt = view.endpoints.stale ? (this.#knownAt.get(view.service) ?? writtenAt) : writtenAt
      const { endpoints, document, ...head } = view
      // The shared protocol follows from the instances.
      if (this.#isFresh(knownAt)) yield { ...head, ...endpoints, protocol: undefined, ...document, knownAt }
    }
  }

  #fingerprints(): string[] {
    return this.#roots().map((root) => rootFingerprint(root))
  }

  #write(known: () => CachedState): void {
    this.#timer = undefined
    const { views, dev } = known()
    const begunAt = this.#clock.now()
    const writtenAt = this.#clock.wallNow()
    const storable = [...this.#storable(views.values(), writtenAt)]
    const stored = { format: FORMAT, roots: this.#fingerprints(), writtenAt, dev, views: storable }
    const bytes = Buffer.from(JSON.stringify(stored))
    const tookMs = this.#clock.now() - begunAt
    this.#delayMs = Math.min(LONGEST_DELAY_MS, Math.max(WRITE_DELAY_MS, WRITE_SHARE * tookMs))
    this.#writing = this.#writing.then(() =>
      this.#store.writeState(NAME, bytes).catch((error: unknown) => {
        this.#failed(`the snapshot was not written: ${error instanceof Error ? error.message : 'unknown'}`)
      }),
    )
  }
}
