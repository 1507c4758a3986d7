/**
 * Restores a backup into a data directory: the new store is built beside the old one, which is
 * moved aside and never deleted. Killed at any point, it leaves the old store, the new one, or a
 * directory on which no registry starts.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseToken, tokenHash } from '../../identity/join-token.ts'
import { OptionsError } from '../../options/fields.ts'
import { KEYS } from '../records.ts'
import { ADMIN_TOKEN_FILE, prepareDataDirectory, STORE_FILE } from '../storage/data-directory.ts'
import { SqliteStorage } from '../storage/sqlite.ts'
import { MOST_OPERATIONS } from '../storage/storage.ts'
import type { BackupContents } from './contents.ts'
import { BackupError, reasonOf } from './error.ts'
import { syncDirectory } from './private-file.ts'
import { readStoppedStore } from './stopped-store.ts'
import { trustDomainOf } from './trust-domain.ts'

/** Behind the name of the store. */
const SIDE_FILES = ['-wal', '-shm', '-journal']
/** No mark of a run, so that the start is another incarnation (decision 0016). */
const RESTORING = 'a restore puts a store here\n'

export interface RestoreOptions {
  readonly dataDir: string
  /** Move aside what is there. */
  readonly replace: boolean
  /** Check only. */
  readonly dryRun: boolean
}

export interface EmbeddedRestore {
  /** Where the former store is. */
  readonly movedTo?: string
  /** Whether the file `admin-token` that is there opens the restored registry. */
  readonly hasAdminToken: boolean
}

/** @throws BackupError; nothing was changed then */
export async function restoreEmbedded(
  contents: BackupContents,
  { dataDir, replace, dryRun }: RestoreOptions,
): Promise<EmbeddedRestore> {
  const place = new Place(dataDir)
  const occupied = place.occupied()
  if (occupied !== undefined && !replace) {
    const what = 'give another directory, or --force to move it aside'
    throw new BackupError('store-occupied', `${dataDir} has ${occupied} already; ${what}`)
  }
  if (occupied !== undefined) await place.checkFormer(contents)
  const hasAdminToken = place.opensWith(contents)
  if (dryRun) return { hasAdminToken }
  try {
    prepareDataDirectory(dataDir)
    await place.build(contents)
    const movedTo = await place.exchange(occupied !== undefined, hasAdminToken)
    return { hasAdminToken, ...(movedTo !== undefined && { movedTo }) }
  } catch (error) {
    place.clean()
    if (error instanceof BackupError) throw error
    const reason =
      error instanceof OptionsError ? error.issues[0]!.message : `cannot write to ${dataDir}: ${reasonOf(error)}`
    throw new BackupError('restore-failed', reason, { cause: error })
  }
}

class Place {
  readonly #dataDir: string
  readonly #store: string
  readonly #mark: string
  readonly #adminToken: string
  /** The store that is built. */
  readonly #new: string

  constructor(dataDir: string) {
    this.#dataDir = dataDir
    this.#store = join(dataDir, STORE_FILE)
    this.#mark = `${this.#store}-run`
    this.#adminToken = join(dataDir, ADMIN_TOKEN_FILE)
    this.#new = `${this.#store}.restoring`
  }

  /** The name of a file of a registry. A restore that was killed leaves none of these alone. */
  occupied(): string | undefined {
    const names = ['', ...SIDE_FILES, '-run'].map((end) => `${STORE_FILE}${end}`)
    try {
      const found = [...names, ADMIN_TOKEN_FILE].filter((name) =>
        statSync(join(this.#dataDir, name), { throwIfNoEntry: false }),
      )
      const isOurs = found.length === 1 && found[0] === `${STORE_FILE}-run` && this.#isRestoring()
      return isOurs ? undefined : found[0]
    } catch (error) {
      throw new BackupError('restore-failed', `cannot read ${this.#dataDir}: ${reasonOf(error)}`, { cause: error })
    }
  }

  /** A registry runs on it, or it is of another mesh. A damaged one may be replaced. */
  async checkFormer({ origin }: BackupContents): Promise<void> {
    try {
      const former = trustDomainOf((await readStoppedStore(this.#store)).items)
      if (former === undefined || origin.trustDomain === null || former === origin.trustDomain) return
    } catch (error) {
      if (!(error instanceof BackupError) || error.code === 'backup-unreadable') return
      throw new BackupError(error.code, `${error.message}; stop it first`, { cause: error })
    }
    throw foreign(this.#dataDir, origin.trustDomain)
  }

  /** Whether the admin token in the directory is that of the backup. */
  opensWith({ items }: BackupContents): boolean {
    const stored = items.find(({ key }) => key === KEYS.admin)
    try {
      const token = parseToken(readFileSync(this.#adminToken, 'utf8'))
      return token !== undefined && stored !== undefined && JSON.parse(stored.value) === tokenHash(token.secret)
    } catch {
      return false
    }
  }

  async build({ items }: BackupContents): Promise<void> {
    await this.#checkAlone()
    this.clean()
    const storage = await SqliteStorage.open({ path: this.#new })
    try {
      for (let i = 0; i < items.length; i += MOST_OPERATIONS) {
        const some = items.slice(i, i + MOST_OPERATIONS)
        await storage.transact(
          [],
          some.map(({ key, value }) => ({ key, value })),
        )
      }
    } finally {
      await storage.close()
    }
    rmSync(`${this.#new}-run`, { force: true })
  }

  /** Returns where the former store is. */
  async exchange(hasFormer: boolean, keepAdminToken: boolean): Promise<string | undefined> {
    const aside = hasFormer ? this.#makeAside() : undefined
    const move = (path: string): void => {
      if (existsSync(path)) renameSync(path, join(aside!, basename(path)))
    }
    if (aside !== undefined) move(this.#mark)
    // Until the new store is in its place, it keeps a registry from making one with a new root.
    writeFileSync(this.#mark, RESTORING, { mode: 0o600 })
    await syncDirectory(this.#dataDir)
    if (aside !== undefined) for (const end of ['', ...SIDE_FILES]) move(`${this.#store}${end}`)
    renameSync(this.#new, this.#store)
    if (aside !== undefined && !keepAdminToken) move(this.#adminToken)
    await syncDirectory(this.#dataDir)
    return aside
  }

  /** Removes what was built. */
  clean(): void {
    if (statSync(this.#dataDir, { throwIfNoEntry: false })?.isDirectory() !== true) return
    for (const end of ['', ...SIDE_FILES, '-run']) rmSync(`${this.#new}${end}`, { force: true })
  }

  async #checkAlone(): Promise<void> {
    try {
      await readStoppedStore(this.#new)
    } catch (error) {
      if ((error as BackupError).code !== 'store-in-use') return
      throw new BackupError('store-in-use', `another restore into ${this.#dataDir} runs; wait for its end`)
    }
  }

  #makeAside(): string {
    const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
    for (let number = 1; ; number++) {
      const path = join(this.#dataDir, `before-restore-${time}${number === 1 ? '' : `-${number}`}`)
      if (existsSync(path)) continue
      mkdirSync(path, { mode: 0o700 })
      return path
    }
  }

  #isRestoring(): boolean {
    return readFileSync(this.#mark, 'utf8') === RESTORING
  }
}

export function foreign(place: string, trustDomain: string | null): BackupError {
  return new BackupError('store-foreign', `${place} is of another trust domain than the backup ('${trustDomain}')`)
}
