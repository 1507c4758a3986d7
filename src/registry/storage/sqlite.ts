/**
 * The embedded engine: one SQLite file, durable at every commit. All transactions of one event loop
 * turn share a commit; node:sqlite loads when a file is opened.
 */
import { chmodSync, closeSync, constants, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { reasonOf } from '../../core/errors.ts'
import { makePrivateDirectory } from '../../identity/private-directory.ts'
import { CompactedError, StorageError } from './errors.ts'
import { Incarnation } from './incarnation.ts'
import { LocalAnnouncements } from './local-announcements.ts'
import { LocalElections } from './local-elections.ts'
import { ANNOUNCED, eraseFormer, IN_USE, prepareFile, RESTORE, type Statements } from './sqlite-file.ts'
import {
  type Announcement,
  type Batch,
  type Compare,
  HISTORY,
  type Item,
  type Leadership,
  type Operation,
  SCANNED_AT_ONCE,
  type Storage,
  type StorageStatus,
  type TransactionResult,
} from './storage.ts'
import { checkLimits } from './transaction-limits.ts'
import { StorageWatches } from './watches.ts'

/** Made if it is not there; never what a link leads to. */
const OPEN_OWN = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0)

/**
 * Revisions by which the stored history may be longer than asked for, so that not every write has
 * to cut it.
 */
const TRIM_EVERY = 256

interface Waiting {
  readonly compares: readonly Compare[]
  readonly operations: readonly Operation[]
  /** The keys that are announced from then on. */
  readonly announced?: readonly string[]
  readonly resolve: (result: TransactionResult) => void
  readonly reject: (error: unknown) => void
}

export interface SqliteStorageOptions {
  /** The file; made with mode 0600, in a directory of mode 0700. */
  readonly path: string
  /** How many batches a watch may go back, also after a restart; default 10,000. */
  readonly history?: number
}

export class SqliteStorage implements Storage {
  readonly #database: DatabaseSync
  readonly #epoch: string
  readonly #history: number
  readonly #watches = new StorageWatches()
  readonly #elections = new LocalElections()
  readonly #announcements = new LocalAnnouncements((operations, announced) =>
    this.#enqueue({ compares: [], operations, announced }),
  )
  readonly #incarnation: Incarnation
  readonly #statements: Statements
  #revision: number
  /** The stored history begins after this revision. */
  #floor: number
  #waiting: Waiting[] = []
  #scheduled: NodeJS.Immediate | undefined
  #closed = false

  /**
   * Rejects with a {@link StorageError} if the file is in use by another registry, damaged, a part
   * of a store, or of a newer version. Unless it goes on where its last run ended, its epoch is
   * new.
   */
  static async open(options: SqliteStorageOptions): Promise<SqliteStorage> {
    const { DatabaseSync } = await import('node:sqlite')
    makePrivateDirectory(dirname(options.path))
    const incarnation = new Incarnation(options.path)
    // SQLite gives its side files the mode of the main one, so that one must be right before it is
    // opened.
    closeSync(openSync(options.path, OPEN_OWN, 0o600))
    chmodSync(options.path, 0o600)
    const database = new DatabaseSync(options.path)
    try {
      return new SqliteStorage(database, options.history ?? HISTORY, incarnation)
    } catch (error) {
      database.close()
      if (error instanceof StorageError) throw error
      const reason = reasonOf(error)
      const hint = /locked|busy/i.test(reason) ? IN_USE : `${reason}. ${RESTORE}`
      throw new StorageError(`cannot open ${options.path}: ${hint}`, { cause: error })
    }
  }

  private constructor(database: DatabaseSync, history: number, incarnation: Incarnation) {
    this.#database = database
    this.#history = history
    this.#incarnation = incarnation
    const file = prepareFile(database, incarnation)
    this.#statements = file.statements
    this.#epoch = file.epoch
    this.#revision = file.revision
    this.#floor = file.floor
    this.#forgetAnnounced(file.announced)
  }

  transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    return this.#enqueue({ compares, operations })
  }

  async list(prefix: string): Promise<{ items: readonly Item[]; revision: number }> {
    if (this.#closed) throw new StorageError('the store is closed')
    return { items: this.#read(this.#statements.list, [...prefix].length, prefix), revision: this.#revision }
  }

  async *scan(prefix: string): AsyncGenerator<readonly Item[]> {
    for (let after: string | undefined = ''; after !== undefined; ) {
      if (this.#closed) throw new StorageError('the store is closed')
      const part = this.#read(this.#statements.scan, after, [...prefix].length, prefix, SCANNED_AT_ONCE)
      after = part.length < SCANNED_AT_ONCE ? undefined : part.at(-1)!.key
      yield part
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    if (this.#closed) throw new StorageError('the store is closed')
    if (afterRevision < this.#oldest) throw new CompactedError(afterRevision, this.#oldest)
    return this.#watches.add(prefix, listener, this.#batchesAfter(afterRevision))
  }

  campaign(name: string): Promise<Leadership> {
    return this.#elections.campaign(name)
  }

  announce(key: string, value: string): Promise<Announcement> {
    return this.#announcements.announce(key, value)
  }

  async eraseFormer(prefixes: readonly string[]): Promise<void> {
    if (this.#closed) throw new StorageError('the store is closed')
    this.#commit()
    eraseFormer(this.#database, prefixes)
  }

  status(): StorageStatus {
    const { continues } = this.#incarnation
    const [epoch, revision, oldest] = [this.#epoch, this.#revision, this.#oldest]
    return { engine: 'sqlite', epoch, continues, revision, oldest, writable: true }
  }

  /** It never changes: a write that fails says so itself, and the next one may succeed. */
  onStatus(): () => void {
    return () => {}
  }

  async close(): Promise<void> {
    if (this.#closed) return
    // What a full disk keeps from being deleted is deleted by the next run.
    this.#enqueue({ compares: [], operations: this.#announcements.clear(), announced: [] }).catch(() => {})
    this.#closed = true
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled)
    this.#commit()
    this.#watches.clear()
    this.#database.close()
    this.#incarnation.end()
  }

  #read(statement: StatementSync, ...values: (string | number)[]): readonly Item[] {
    try {
      return statement.all(...values) as unknown as Item[]
    } catch (error) {
      throw new StorageError(`cannot read the store: ${(error as Error).message}. ${RESTORE}`, { cause: error })
    }
  }

  async #enqueue(wanted: Omit<Waiting, 'resolve' | 'reject'>): Promise<TransactionResult> {
    if (this.#closed) throw new StorageError('the store is closed')
    checkLimits(wanted.compares, wanted.operations)
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ ...wanted, resolve, reject })
      this.#scheduled ??= setImmediate(() => this.#commit())
    })
  }

  /** What a run announced that was killed. */
  #forgetAnnounced(keys: readonly string[]): void {
    if (keys.length === 0) return
    const reject = (error: unknown): void => {
      throw error
    }
    const operations = keys.map((key) => ({ key, value: undefined }))
    this.#waiting.push({ compares: [], operations, announced: [], resolve: () => {}, reject })
    this.#commit()
  }

  #commit(): void {
    this.#scheduled = undefined
    const group = this.#waiting
    if (group.length === 0) return
    this.#waiting = []
    const results: TransactionResult[] = []
    const batches: Batch[] = []
    let revision = this.#revision
    let floor = this.#floor
    try {
      this.#database.exec('BEGIN IMMEDIATE')
      for (const one of group) {
        const changes = this.#apply(one, revision + 1)
        if (changes !== undefined && changes.length > 0) batches.push({ revision: ++revision, changes })
        results.push({ ok: changes !== undefined, revision })
      }
      if (revision !== this.#revision) {
        this.#statements.setMeta.run(String(revision), 'revision')
        floor = this.#trim(revision)
      }
      this.#database.exec('COMMIT')
    } catch (error) {
      // Nothing of this group is stored, and no watcher knows of it.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      const reason = new StorageError(`cannot write: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
      for (const one of group) one.reject(reason)
      return
    }
    this.#revision = revision
    this.#floor = floor
    for (const batch of batches) this.#watches.tell(batch)
    for (const [i, one] of group.entries()) one.resolve(results[i]!)
  }

  /** `undefined`: a compare did not hold. Otherwise what was changed. */
  #apply(one: Waiting, revision: number): Operation[] | undefined {
    const { put, remove, log, setMeta } = this.#statements
    if (!one.compares.every((compare) => this.#holds(compare))) return undefined
    if (one.announced !== undefined) setMeta.run(JSON.stringify(one.announced), ANNOUNCED)
    const changes: Operation[] = []
    for (const operation of one.operations) {
      if (operation.value !== undefined) put.run(operation.key, operation.value, revision)
      else if (Number(remove.run(operation.key).changes) === 0) continue
      log.run(revision, changes.length, operation.key, operation.value ?? null)
      changes.push(operation)
    }
    return changes
  }

  #holds(compare: Compare): boolean {
    const { revisionOf, newest } = this.#statements
    if ('key' in compare)
      return ((revisionOf.get(compare.key)?.revision as number | undefined) ?? 0) === compare.revision
    const { prefix, unchangedSince } = compare
    return ((newest.get([...prefix].length, prefix)?.revision as number | null) ?? 0) <= unchangedSince
  }

  get #oldest(): number {
    return Math.max(this.#floor, this.#revision - this.#history)
  }

  /** Returns what the history begins after now. */
  #trim(revision: number): number {
    const floor = revision - this.#history
    if (floor - this.#floor < TRIM_EVERY) return this.#floor
    this.#statements.trim.run(floor)
    return floor
  }

  *#batchesAfter(after: number): Generator<Batch> {
    let revision = 0
    let changes: Operation[] = []
    for (const row of this.#statements.logAfter.iterate(after)) {
      if (row.revision !== revision) {
        if (changes.length > 0) yield { revision, changes }
        revision = row.revision as number
        changes = []
      }
      changes.push({ key: row.key as string, value: (row.value as string | null) ?? undefined })
    }
    if (changes.length > 0) yield { revision, changes }
  }
}
