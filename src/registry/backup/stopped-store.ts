/**
 * Reads the store of a stopped registry and changes nothing in its directory, so that the next
 * start goes on where the last run ended (decision 0016).
 */
import { rmSync, type Stats, statSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { SCAN, SCHEMA_VERSION } from '../storage/sqlite-file.ts'
import { type Item, SCANNED_AT_ONCE } from '../storage/storage.ts'
import { BackupError, reasonOf } from './error.ts'
import { endLine, recordLine } from './lines.ts'

export interface StoppedStore {
  readonly items: readonly Item[]
  readonly epoch: string
  readonly revision: number
}

/**
 * @throws BackupError `store-in-use` if a registry runs on it, `backup-unreadable` if there is none
 * or it is damaged
 */
export async function readStoppedStore(path: string): Promise<StoppedStore> {
  const before = statOf(path)
  if (before === undefined || before.size === 0) {
    throw new BackupError('backup-unreadable', `there is no store at ${path}`)
  }
  const log = `${path}-wal`
  if (statOf(log) !== undefined) {
    const store = await read(path, false)
    // A registry makes none, because it holds the only connection.
    rmSync(`${path}-shm`, { force: true })
    return store
  }
  // Each run has a log. Without one no lock is needed, which would make files beside the store.
  const store = await read(path, true)
  const after = statOf(path)
  const changed = after?.ino !== before.ino || after.ctimeMs !== before.ctimeMs || after.size !== before.size
  if (changed || statOf(log) !== undefined) throw inUse(path)
  return store
}

export async function* linesOfStopped({ items, epoch, revision }: StoppedStore): AsyncGenerator<string> {
  for (let i = 0; i < items.length; i += SCANNED_AT_ONCE) {
    const some = items.slice(i, i + SCANNED_AT_ONCE)
    yield some.map((item) => recordLine(item.key, item.value, item.revision)).join('')
  }
  yield endLine({ epoch, revision, lines: items.length })
}

async function read(path: string, immutable: boolean): Promise<StoppedStore> {
  const { DatabaseSync } = await import('node:sqlite')
  const url = pathToFileURL(path)
  if (immutable) url.searchParams.set('immutable', '1')
  try {
    const database = new DatabaseSync(url, { readOnly: true })
    try {
      database.exec('BEGIN')
      const found = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
      if (found !== 'ok') throw new Error(`it is damaged: ${found}`)
      const meta = new Map(
        database
          .prepare('SELECT name, value FROM meta')
          .all()
          .map(({ name, value }) => [name, value]),
      )
      if (Number(meta.get('schema')) !== SCHEMA_VERSION) {
        throw new Error(`it has schema version ${meta.get('schema')}; this inmesh knows version ${SCHEMA_VERSION}`)
      }
      const items = database.prepare(SCAN).all('', 0, '', -1) as unknown as Item[]
      return { items, epoch: String(meta.get('epoch')), revision: Number(meta.get('revision')) }
    } finally {
      database.close()
    }
  } catch (error) {
    if (/locked|busy/i.test((error as Error).message)) throw inUse(path)
    throw new BackupError('backup-unreadable', `cannot read the store ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw new BackupError('backup-unreadable', `cannot read the store ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

function inUse(path: string): BackupError {
  return new BackupError('store-in-use', `a registry runs on ${path}`)
}
