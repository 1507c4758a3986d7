/**
 * The embedded engine: one SQLite file, durable at every commit. All transactions of one event loop
 * turn share a commit; node:sqlite loads when a file is opened.
 */
import { randomUUID } from 'node:crypto'
import { chmodSync, closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { CompactedError, StorageError } from './errors.ts'
import { Incarnation } from './incarnation.ts'
import { LocalAnnouncements } from './local-announcements.ts'
import { LocalElections } from './local-elections.ts'
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

export const SCHEMA_VERSION = 1
/**
 * Revisions by which the stored history may be longer than asked for, so that not every write has
 * to cut it.
 */
const TRIM_EVERY = 256

/** Made if it is not there; never what a link leads to. */
const OPEN_OWN = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0)

/** The row of meta with the announced keys. */
const ANNOUNCED = 'announced'

const RESTORE = 'Restore the data directory from a backup'

/** A part of all items behind a key. */
export const SCAN =
  'SELECT key, value, revision FROM items WHERE key > ? AND substr(key, 1, ?) = ? ORDER BY key LIMIT ?'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS log (
    revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
    PRIMARY KEY (revision, position)
  ) WITHOUT ROWID;
`

interface Waiting {
  readonly compares: readonly Compare[]
  readonly operations: readonly Operation[]
  /** The keys that are announced from then on. */
  readonly announced?: readonly string[]
  readonly resolve: (result: TransactionResult) => void
  readonly reject: (error: unknown) => void
}

interface Statements {
  readonly revisionOf: StatementSync
  readonly newest: StatementSync
  readonly put: StatementSync
  readonly remove: StatementSync
  readonly list: StatementSync
  readonly scan: StatementSync
  readonly log: StatementSync
  readonly logAfter: StatementSync
  readonly trim: StatementSync
  readonly setMeta: StatementSync
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
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 })
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
      const reason = error instanceof Error ? error.message : String(error)
      const hint = /locked|busy/i.test(reason) ? 'another registry is running on it' : `${reason}. ${RESTORE}`
      throw new StorageError(`cannot open ${options.path}: ${hint}`, { cause: error })
    }
  }

  private constructor(database: DatabaseSync, history: number, incarnation: Incarnation) {
    this.#database = database
    this.#history = history
    this.#incarnation = incarnation
    // One registry a file: the lock is held until the process ends, however it ends.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
    database.exec(`BEGIN IMMEDIATE; ${SCHEMA}`)
    database
      .prepare('INSERT INTO meta (name, value) VALUES (?, ?), (?, ?), (?, ?), (?, ?) ON CONFLICT DO NOTHING')
      .run('schema', String(SCHEMA_VERSION), 'epoch', randomUUID(), 'revision', '0', ANNOUNCED, '[]')
    if (!incarnation.continues) {
      // Pages of a copy that was made while a registry wrote need not fit each other.
      const found = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
      if (found !== 'ok') throw new StorageError(`the store is damaged: ${found}. ${RESTORE}`)
      database.prepare("UPDATE meta SET value = ? WHERE name = 'epoch'").run(randomUUID())
    }
    database.exec('COMMIT')
    incarnation.begin()
    const meta = new Map(
      database
        .prepare('SELECT name, value FROM meta')
        .all()
        .map((row) => [row.name as string, row.value as string]),
    )
    const schema = Number(meta.get('schema'))
    if (schema !== SCHEMA_VERSION) {
      throw new StorageError(`the store has schema version ${schema}; this registry knows version ${SCHEMA_VERSION}`)
    }
    this.#epoch = meta.get('epoch')!
    this.#revision = Number(meta.get('revision'))
    // Revisions have no gaps, so the first one kept tells what the history begins after.
    const first = database.prepare('SELECT min(revision) AS revision FROM log').get()?.revision as number | null
    this.#floor = first === null ? this.#revision : first - 1
    this.#statements = {
      revisionOf: database.prepare('SELECT revision FROM items WHERE key = ?'),
      newest: database.prepare('SELECT max(revision) AS revision FROM items WHERE substr(key, 1, ?) = ?'),
      put: database.prepare(
        'INSERT INTO items (key, value, revision) VALUES (?, ?, ?) ' +
          'ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision',
      ),
      remove: database.prepare('DELETE FROM items WHERE key = ?'),
      list: database.prepare('SELECT key, value, revision FROM items WHERE substr(key, 1, ?) = ? ORDER BY key'),
      scan: database.prepare(SCAN),
      log: database.prepare('INSERT INTO log (revision, position, key, value) VALUES (?, ?, ?, ?)'),
      logAfter: database.prepare('SELECT revision, key, value FROM log WHERE revision > ? ORDER BY revision, position'),
      trim: database.prepare('DELETE FROM log WHERE revision <= ?'),
      setMeta: database.prepare('UPDATE meta SET value = ? WHERE name = ?'),
    }
    this.#forgetAnnounced(JSON.parse(meta.get(ANNOUNCED)!) as string[])
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
    const database = this.#database
    try {
      database.exec('PRAGMA secure_delete = ON; BEGIN IMMEDIATE')
      const rewrite = database.prepare(
        'UPDATE log SET value = (SELECT value FROM items WHERE items.key = log.key) WHERE substr(key, 1, ?) = ?',
      )
      for (const prefix of prefixes) rewrite.run([...prefix].length, prefix)
      database.exec('COMMIT')
      // Pages that became free before keep their bytes until the file is written anew, and the log
      // until it is cut.
      database.exec('VACUUM')
      const { busy } = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number }
      if (busy !== 0) throw new Error('the log is in use')
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw new StorageError(`cannot erase former values: ${(error as Error).message}`, { cause: error })
    } finally {
      database.exec('PRAGMA secure_delete = OFF')
    }
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
