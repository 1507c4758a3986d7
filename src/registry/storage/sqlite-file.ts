/** The file of the embedded engine: its tables, its statements, and what a start finds in it. */
import { randomUUID } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { StorageError } from './errors.ts'
import type { Incarnation } from './incarnation.ts'

export const SCHEMA_VERSION = 1

/** The row of meta with the announced keys. */
export const ANNOUNCED = 'announced'

export const IN_USE =
  'another registry is running on it; give another data directory (--data-dir), or keep the state in memory (--memory)'
export const RESTORE = 'Restore the data directory from a backup'

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

export interface Statements {
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

/** What a start found. */
interface PreparedFile {
  readonly statements: Statements
  readonly epoch: string
  readonly revision: number
  /** The stored history begins after this revision. */
  readonly floor: number
  /** The keys that a killed run announced. */
  readonly announced: readonly string[]
}

/**
 * Takes the lock of an open file, and makes what it lacks.
 *
 * @throws StorageError if it is damaged or of a newer version
 */
export function prepareFile(database: DatabaseSync, incarnation: Incarnation): PreparedFile {
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
  const revision = Number(meta.get('revision'))
  // Revisions have no gaps, so the first one kept tells what the history begins after.
  const first = database.prepare('SELECT min(revision) AS revision FROM log').get()?.revision as number | null
  const floor = first === null ? revision : first - 1
  const statements = {
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
  const announced = JSON.parse(meta.get(ANNOUNCED)!) as string[]
  return { statements, epoch: meta.get('epoch')!, revision, floor, announced }
}

/**
 * Rewrites the history of keys with these prefixes by their current values, and the file without
 * the bytes of former ones.
 */
export function eraseFormer(database: DatabaseSync, prefixes: readonly string[]): void {
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
