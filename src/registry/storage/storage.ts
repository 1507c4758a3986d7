/**
 * What a registry asks of the store below it. Every engine passes
 * `test/registry/storage/storage.test.ts`.
 */

/** One key with its value and the revision that last changed it. */
export interface Item {
  readonly key: string
  readonly value: string
  readonly revision: number
}

/**
 * Holds when `key` was last changed at `revision` (0: when it does not exist), or when nothing that
 * begins with `prefix` was put after `unchangedSince`.
 */
export type Compare =
  | { readonly key: string; readonly revision: number }
  | { readonly prefix: string; readonly unchangedSince: number }

/** `value: undefined` deletes. Deleting what does not exist is no mistake and no change. */
export interface Operation {
  readonly key: string
  readonly value: string | undefined
}

/** Everything one transaction changed; never split, never empty. */
export interface Batch {
  readonly revision: number
  readonly changes: readonly Operation[]
}

export interface TransactionResult {
  /** False: a compare did not hold, and nothing was changed. */
  readonly ok: boolean
  /** The revision of this change, or the current one if nothing was changed. */
  readonly revision: number
}

export interface StorageStatus {
  readonly engine: string
  /**
   * Random; new at each start that does not go on where the last run ended. Revisions of two epochs
   * are never compared.
   */
  readonly epoch: string
  /** Whether this run goes on where the last one ended. */
  readonly continues: boolean
  readonly revision: number
  /** The least revision after which a watch may begin. */
  readonly oldest: number
  /**
   * False while a write cannot succeed, such as without a majority of etcd. Lists and watches then
   * show what was known before.
   */
  readonly writable: boolean
  /** Why it is not writable, for operators. */
  readonly reason?: string
  /** Another history has taken the place of this one: nothing more happens in it. */
  readonly replaced?: true
}

/** Leadership of one name, until resigned or `lost` resolves. */
export interface Leadership {
  readonly lost: Promise<void>
  resign(): Promise<void>
}

/**
 * A key that exists while this process lives. The store deletes it after `end`, `close`, or the
 * death of the process; no transaction may write it.
 */
export interface Announcement {
  /**
   * The store has taken the process for dead, or another announcement has replaced this one. Never
   * rejects. A process that still lives announces again.
   */
  readonly lost: Promise<void>
  /** @throws StorageError after `lost` or `end` */
  update(value: string): Promise<void>
  end(): Promise<void>
}

export interface Storage {
  /**
   * All operations or none, durable when the promise resolves, and by then told to every watcher of
   * this engine; so are writes of others that a compare met. At most {@link MOST_OPERATIONS} and
   * {@link MOST_COMPARES}.
   *
   * @throws StorageError within seconds if the store cannot be written; a write that was in flight
   * may then still happen
   */
  transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult>
  /** In the order of keys, as of one revision. */
  list(prefix: string): Promise<{ readonly items: readonly Item[]; readonly revision: number }>
  /**
   * Every item, in parts, so that a large store blocks no other work. A part is as of a revision
   * that watchers know by then and that is not before the call: with a {@link watch} from the call
   * on, the newest revision of each key is the state.
   */
  scan(prefix: string): AsyncIterable<readonly Item[]>
  /**
   * Every batch after `afterRevision` that touches `prefix`, in order and without a gap, first
   * those that already are. Rejects with {@link CompactedError} if the history no longer goes back
   * so far. Returns how to stop.
   */
  watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void>
  /** Resolves when this process leads `name`. */
  campaign(name: string): Promise<Leadership>
  /** Puts a key that vanishes with this process. */
  announce(key: string, value: string): Promise<Announcement>
  /**
   * Leaves nothing of the former values of keys with these prefixes: neither in the history, which
   * gets the current ones, nor in the bytes of the files. Absent: the engine cannot.
   */
  eraseFormer?(prefixes: readonly string[]): Promise<void>
  status(): StorageStatus
  /** Told when `writable` or `epoch` changes. Returns how to stop. */
  onStatus(listener: (status: StorageStatus) => void): () => void
  /**
   * Ends all watches and announcements. What is still waiting to be written is written first.
   */
  close(): Promise<void>
}

/**
 * What one transaction may change, at most: enough to apply the policies of a whole mesh at once.
 */
export const MOST_OPERATIONS = 1_000

/** Items in one part of a scan. */
export const SCANNED_AT_ONCE = 500

/** What one transaction may compare, at most. */
export const MOST_COMPARES = 50

/** How many revisions a watch may go back. */
export const HISTORY = 10_000
