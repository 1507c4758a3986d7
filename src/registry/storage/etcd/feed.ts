/**
 * Every change below the prefix, in order and without a gap: a watch that is resumed at any node,
 * and a comparison with a new list where the history is gone.
 */
import type { Batch, Operation } from '../storage.ts'
import type { EtcdClient } from './client.ts'
import { endOf, isOwn } from './keys.ts'
import type { KeyValue, WatchEvent } from './messages.ts'
import { pages } from './pages.ts'
import { yieldTurn } from './pause.ts'
import { Compacted, openWatch, type Watch } from './watch-stream.ts'

/** Keys read at once when the history is gone. */
const LARGEST_PAGE = 1_000
/**
 * Revisions that a watch catches up with. etcd sends many in one message, which takes long to
 * decode; behind that, a list in pages is easier on the event loop.
 */
const MOST_REPLAYED = 200
/** Changes delivered in one turn of the event loop. */
const EVENTS_PER_TURN = 1_000
const LONGEST_PAUSE_MS = 1_000
/** While a new leader is elected. */
const EARLY_TRIES = 10
const EARLY_PAUSE_MS = 200

/** One key as the engine sees it: also its internal keys, and the lease of each. */
export interface KeyChange extends Operation {
  readonly lease: string
}

export interface FeedListener {
  /** Changes of the registry's keys. */
  batch(batch: Batch): void
  /** Any change since the start, before its batch. */
  changed(change: KeyChange): void
  /** The watch is live, or is not and why. */
  following(reason: string | undefined): void
  /** The history begins after `revision`; no batch was delivered yet. */
  forgotten(revision: number): void
  /** Before each watch: etcd's revision. `undefined`: the store is another one now, or an older. */
  verify(): Promise<number | undefined>
}

export class ChangeFeed {
  readonly #client: EtcdClient
  readonly #listener: FeedListener
  /** The revision that last changed each key, so that what vanished unseen is found. */
  readonly #known = new Map<string, number>()
  /** The later revision as of which a key was delivered, after a comparison with a list. */
  readonly #deliveredAs = new Map<string, number>()
  readonly #waiting = new Set<{ readonly revision: number; readonly resolve: () => void }>()
  /** Everything up to this revision is delivered. */
  #revision = 0
  /** Keys up to here are in `known` already. */
  #base = 0
  /** The last revision that changed a key of the registry's, or where the history begins. */
  #changedAt = 0
  #watch: Watch | undefined
  #running: Promise<void> | undefined

  constructor(client: EtcdClient, listener: FeedListener) {
    this.#client = client
    this.#listener = listener
  }

  get revision(): number {
    return this.#revision
  }

  get changedAt(): number {
    return this.#changedAt
  }

  has(key: string): boolean {
    return this.#known.has(key)
  }

  /** The revision at which etcd has a key that was delivered as of `delivered`. */
  actualRevision(key: string, delivered: number): number {
    return this.#deliveredAs.get(key) === delivered ? (this.#known.get(key) ?? delivered) : delivered
  }

  /**
   * Learns all keys, then follows from `history` revisions ago. Returns the revision after which it
   * delivers, unless `forgotten` names a later one.
   *
   * @throws EtcdFailure
   */
  async start(history: number): Promise<number> {
    for await (const { kvs, revision } of pages(this.#client, '', { keysOnly: true, largest: LARGEST_PAGE })) {
      for (const kv of kvs) this.#learn(this.#keyOf(kv), Number(kv.mod_revision))
      this.#base = revision
    }
    this.#revision = Math.max(0, this.#base - history)
    this.#changedAt = Math.max(this.#changedAt, this.#revision)
    this.#watch = await this.#open()
    this.#running = this.#run()
    return this.#revision
  }

  /** True when everything up to `revision` is delivered; false: not in time. */
  reached(revision: number, withinMs: number): Promise<boolean> {
    if (this.#revision >= revision) return Promise.resolve(true)
    return new Promise((resolve) => {
      const waiting = {
        revision,
        resolve: () => {
          clearTimeout(timer)
          resolve(true)
        },
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting)
        resolve(false)
      }, withinMs)
      this.#waiting.add(waiting)
    })
  }

  /** Opens the watch anew, at the node in use; nothing is missed. */
  restart(): void {
    this.#watch?.cancel()
  }

  async close(): Promise<void> {
    this.#watch?.cancel()
    await this.#running
  }

  async #run(): Promise<void> {
    const { closing } = this.#client
    for (let tries = 0; !closing.aborted; ) {
      try {
        this.#watch ??= await this.#open()
        this.#listener.following(undefined)
        tries = 0
        await this.#follow(this.#watch)
      } catch (error) {
        if (closing.aborted) break
        const reason = error instanceof Compacted ? await this.#skip(error.revision) : error
        if (reason === undefined) continue
        this.#listener.following((reason as Error).message)
        await this.#client.pause(tries, tries < EARLY_TRIES ? EARLY_PAUSE_MS : LONGEST_PAUSE_MS)
        tries += 1
      } finally {
        this.#watch?.cancel()
        this.#watch = undefined
      }
    }
  }

  async #open(): Promise<Watch> {
    const revision = await this.#listener.verify()
    const isFar = this.#revision >= this.#base && (revision ?? 0) - this.#revision > MOST_REPLAYED
    if (revision === undefined || isFar) await this.#compareAll()
    const { prefix } = this.#client
    const range = { key: Buffer.from(prefix), range_end: endOf(prefix) }
    return await openWatch(this.#client, { ...range, start_revision: this.#revision + 1 })
  }

  async #follow(watch: Watch): Promise<void> {
    let inTurn = 0
    for await (const { events, header } of watch.responses) {
      // An answer holds whole revisions. Without events it says how far the watch is.
      if (events.length === 0) this.#advance(Math.max(this.#revision, Number(header.revision)))
      for (let from = 0, to = 0; from < events.length; from = to) {
        const revision = events[from]!.kv.mod_revision
        while (events[to]?.kv.mod_revision === revision) to += 1
        this.#deliver(Number(revision), events.slice(from, to))
        inTurn += to - from
        if (inTurn < EVENTS_PER_TURN) continue
        inTurn = 0
        await yieldTurn()
      }
    }
  }

  /** Goes on behind a history that is gone. Returns why it could not. */
  async #skip(compacted: number): Promise<unknown> {
    if (this.#revision < this.#base) {
      // It has not delivered what it knew at its start.
      this.#revision = Math.min(compacted, this.#base)
      this.#changedAt = Math.max(this.#changedAt, this.#revision)
      this.#listener.forgotten(this.#revision)
      if (compacted <= this.#base) return undefined
    }
    try {
      await this.#compareAll()
      return undefined
    } catch (error) {
      return error
    }
  }

  /**
   * Lists all, and delivers every difference to what is known as one change.
   */
  async #compareAll(): Promise<void> {
    const gone = new Set(this.#known.keys())
    const changes: KeyChange[] = []
    const changed = new Map<string, number>()
    let at = 0
    for await (const { kvs, revision } of pages(this.#client, '', { largest: LARGEST_PAGE })) {
      at = revision
      for (const kv of kvs) {
        const key = this.#keyOf(kv)
        const last = Number(kv.mod_revision)
        gone.delete(key)
        if (this.#known.get(key) === last) continue
        changes.push({ key, value: kv.value.toString(), lease: kv.lease })
        changed.set(key, last)
      }
    }
    for (const key of gone) changes.push({ key, value: undefined, lease: '0' })
    this.#base = 0
    this.#change(at, changes)
    for (const [key, revision] of changed) {
      this.#known.set(key, revision)
      this.#deliveredAs.set(key, at)
    }
  }

  #keyOf({ key }: KeyValue): string {
    return key.toString('utf8', Buffer.byteLength(this.#client.prefix))
  }

  #deliver(revision: number, events: readonly WatchEvent[]): void {
    // Delivered before the watch was resumed.
    if (revision <= this.#revision) return
    const changes = events.map(({ type, kv }) => ({
      key: this.#keyOf(kv),
      value: type === 'DELETE' ? undefined : kv.value.toString(),
      lease: kv.lease,
    }))
    this.#change(revision, changes)
  }

  #change(revision: number, changes: readonly KeyChange[]): void {
    if (revision > this.#base) {
      for (const { key, value } of changes) {
        this.#deliveredAs.delete(key)
        if (value === undefined) this.#known.delete(key)
        else this.#learn(key, revision)
      }
    }
    if (revision > this.#base) for (const change of changes) this.#listener.changed(change)
    const batch = changes.filter(({ key }) => !isOwn(key)).map(({ key, value }) => ({ key, value }))
    if (batch.length > 0) {
      this.#changedAt = revision
      this.#listener.batch({ revision, changes: batch })
    }
    this.#advance(revision)
  }

  #learn(key: string, revision: number): void {
    this.#known.set(key, revision)
    if (!isOwn(key)) this.#changedAt = Math.max(this.#changedAt, revision)
  }

  #advance(revision: number): void {
    this.#revision = revision
    for (const waiting of [...this.#waiting]) {
      if (waiting.revision > revision) continue
      this.#waiting.delete(waiting)
      waiting.resolve()
    }
  }
}
