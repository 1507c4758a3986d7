/** Opens the store that the options name. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../log.ts'
import type { ResolvedRegistryOptions } from '../options.ts'
import { LOCAL_REGISTRY } from '../records.ts'
import type { RegistryState } from '../state.ts'
import { ADMIN_TOKEN_FILE, emptyAdminToken, prepareDataDirectory, STORE_FILE } from './data-directory.ts'
import { StorageError } from './errors.ts'
import type { ResolvedEtcdOptions } from './etcd/options.ts'
import { partial } from './incarnation.ts'
import { MemoryStorage } from './memory.ts'
import type { Storage } from './storage.ts'

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'

export interface OpenedStorage {
  readonly storage: Storage
  /** The registry's name among those on the store. */
  readonly id: string
}

/** @throws OptionsError, StorageError */
export async function openStorage({ dataDir, store }: ResolvedRegistryOptions, log: Logger): Promise<OpenedStorage> {
  if (store !== undefined) return { storage: await openEtcd(store, dataDir, log), id: randomId() }
  if (dataDir === undefined) {
    log.warn({}, 'no data directory: everything, also the certificate authority, is lost when this process ends')
    return { storage: new MemoryStorage(), id: LOCAL_REGISTRY }
  }
  const exposed = prepareDataDirectory(dataDir)
  const { SqliteStorage } = await import('./sqlite.ts')
  const storage = await SqliteStorage.open({ path: join(dataDir, STORE_FILE) })
  replaceExposed(dataDir, exposed, log)
  return { storage, id: LOCAL_REGISTRY }
}

/**
 * An admin token beside a store without a root: the store is a part of one, or the wrong one.
 *
 * @throws StorageError that says what to do
 */
export function checkWhole(state: RegistryState, { dataDir, store }: ResolvedRegistryOptions): void {
  if (dataDir === undefined || state.trust.rotation !== undefined || state.trust.authorities.size > 0) return
  const token = join(dataDir, ADMIN_TOKEN_FILE)
  if (!existsSync(token)) return
  if (store === undefined) throw new StorageError(partial(join(dataDir, STORE_FILE), `${token} is there`))
  const where = `etcd at ${store.endpoints.join(', ')} below ${store.prefix}`
  throw new StorageError(
    `there is no mesh in ${where}, but ${token} shows that there was one. Name the etcd and the prefix where it is, or ` +
      'restore it from a backup; to begin a new mesh, move the data directory away.',
  )
}

async function openEtcd(options: ResolvedEtcdOptions, dataDir: string | undefined, log: Logger): Promise<Storage> {
  const exposed = dataDir === undefined ? undefined : prepareDataDirectory(dataDir)
  const { EtcdStorage } = await import('./etcd/storage.ts')
  const storage = await EtcdStorage.open(options)
  if (dataDir === undefined) return storage
  replaceExposed(dataDir, exposed, log)
  const unused = join(dataDir, STORE_FILE)
  if (existsSync(unused)) log.warn({ unused }, 'the store in the data directory is not used; the state is in etcd')
  return storage
}

/** Not before the store is open: another registry may run on the directory. */
function replaceExposed(dataDir: string, exposed: string | undefined, log: Logger): void {
  if (exposed === undefined) return
  log.warn({ reason: exposed }, 'others may know the admin token; it is replaced')
  emptyAdminToken(dataDir)
}

function randomId(): string {
  return Array.from(randomBytes(8), (byte) => BASE32[byte % 32]).join('')
}
