/**
 * A store whose records with private keys are sealed at rest: what is written is sealed here, what
 * is read is opened. No other part of the registry knows of it.
 */
import { OptionsError } from '../../options/fields.ts'
import type { Logger } from '../log.ts'
import { KEYS, SECRET_KINDS } from '../records.ts'
import { StorageError } from '../storage/errors.ts'
import type {
  Announcement,
  Batch,
  Compare,
  Item,
  Leadership,
  Operation,
  Storage,
  StorageStatus,
  TransactionResult,
} from '../storage/storage.ts'
import { readRecord } from '../storage/stored-record.ts'
import type { SealSecret, SealSecrets } from './key-source.ts'
import { deriveKey } from './passphrase.ts'
import { SealBroken, type SealedValue, SealingKey, sealedValueOf } from './sealing-key.ts'

/** Of one transaction. */
const MOST_SEALED_AT_ONCE = 40
/** Other registries may seal at the same time; each pass finds less to do. */
const MOST_PASSES = 20

export class SealedStorage implements Storage {
  readonly #inner: Storage
  readonly #log: Logger
  #key: SealingKey | undefined
  readonly #keys = new Map<string, SealingKey>()
  /** Records that another registry sealed with a key that we do not have. */
  readonly #unreadable = new Set<string>()
  #sealing: Promise<void> | undefined

  private constructor(inner: Storage, log: Logger) {
    this.#inner = inner
    this.#log = log
  }

  /**
   * Checks that the keys open everything, seals what is not sealed under `seal`, and erases what it
   * replaces.
   *
   * @throws OptionsError for a missing or wrong key; then nothing was changed
   * @throws StorageError for a damaged record
   */
  static async open(inner: Storage, { seal, former }: SealSecrets, log: Logger): Promise<SealedStorage> {
    const storage = new SealedStorage(inner, log)
    const items = await storage.#secrets()
    const isSealed = items.some((item) => sealOf(item) !== undefined)
    // A sealed store without a salt was not sealed with a passphrase: none is right.
    const keyOf = async (secret: SealSecret | undefined, mayMake: boolean): Promise<SealingKey | undefined> => {
      if (secret === undefined) return undefined
      const key = secret.key ?? (await deriveKey(inner, secret.passphrase, mayMake))
      return key === undefined ? undefined : new SealingKey(key)
    }
    const old = await keyOf(former, false)
    if (old !== undefined) storage.#keys.set(old.id, old)
    let key = await keyOf(seal, false)
    if (key !== undefined) storage.#keys.set(key.id, key)
    for (const item of items) storage.#check(item, seal !== undefined, key)
    if (seal !== undefined && key === undefined) {
      key = await keyOf(seal, true)
      storage.#keys.set(key!.id, key!)
    }
    storage.#key = key
    if (key !== undefined) await storage.#seal()
    else if (inner.status().engine === 'etcd' && !isSealed) {
      log.warn({}, 'no seal key: any reader of etcd or its backups can impersonate every service; give --seal-key')
    }
    return storage
  }

  /** As it is stored: what is sealed stays sealed. */
  get atRest(): Storage {
    return this.#inner
  }

  async transact(compares: readonly Compare[], operations: readonly Operation[]): Promise<TransactionResult> {
    if (!operations.some(isSecret)) return await this.#inner.transact(compares, operations)
    if (this.#unreadable.size > 0) throw new StorageError(FOREIGN)
    return await this.#inner.transact(
      compares,
      operations.map((one) => this.#sealed(one)),
    )
  }

  async list(prefix: string): Promise<{ readonly items: readonly Item[]; readonly revision: number }> {
    const { items, revision } = await this.#inner.list(prefix)
    return { items: this.#openedItems(items), revision }
  }

  async *scan(prefix: string): AsyncGenerator<readonly Item[]> {
    for await (const items of this.#inner.scan(prefix)) yield this.#openedItems(items)
  }

  watch(prefix: string, afterRevision: number, listener: (batch: Batch) => void): Promise<() => void> {
    const current = this.status().revision
    return this.#inner.watch(prefix, afterRevision, (batch) => {
      listener(batch.changes.some(isSecret) ? this.#openedBatch(batch, batch.revision > current) : batch)
    })
  }

  campaign(name: string): Promise<Leadership> {
    return this.#inner.campaign(name)
  }

  announce(key: string, value: string): Promise<Announcement> {
    return this.#inner.announce(key, value)
  }

  eraseFormer(prefixes: readonly string[]): Promise<void> {
    return this.#inner.eraseFormer?.(prefixes) ?? Promise.resolve()
  }

  status(): StorageStatus {
    return this.#inner.status()
  }

  onStatus(listener: (status: StorageStatus) => void): () => void {
    return this.#inner.onStatus(listener)
  }

  async close(): Promise<void> {
    await this.#sealing
    await this.#inner.close()
  }

  /** @throws OptionsError or StorageError */
  #check(item: Item, keyGiven: boolean, given: SealingKey | undefined): void {
    const sealed = sealOf(item)
    if (sealed === undefined) {
      // A damaged record is named, and not sealed.
      readRecord(item.key, item.value)
      return
    }
    if (this.#keys.has(sealed.keyId)) {
      this.#opened(item)
      return
    }
    const id = sealed.keyId.slice(0, 16)
    const message = !keyGiven
      ? `is missing: the keys of this store are sealed, with key ${id}`
      : `is another one than this store was sealed with (key ${id}${given === undefined ? '' : `, given ${given.id}`}); ` +
        'give that one, or, to change it, give that one as the former seal key'
    throw new OptionsError('startRegistry', [{ path: ['sealKey'], message }])
  }

  async #secrets(): Promise<Item[]> {
    const lists = await Promise.all(SECRET_KINDS.map((kind) => this.#inner.list(kind)))
    return lists.flatMap(({ items }) => items)
  }

  /** Seals what is not sealed under our key. After a crash in between the next start goes on. */
  async #seal(): Promise<void> {
    const erases = this.#inner.eraseFormer !== undefined
    for (let pass = 0; pass < MOST_PASSES; pass++) {
      const due = (await this.#secrets()).filter((item) => sealOf(item)?.keyId !== this.#key!.id)
      if (due.length === 0) {
        await this.#erase()
        return
      }
      const group = due.slice(0, MOST_SEALED_AT_ONCE)
      const { ok } = await this.#inner.transact(
        group.map(({ key, revision }) => ({ key, revision })),
        [
          ...group.map((item) => ({ key: item.key, value: this.#key!.seal(item.key, this.#opened(item)) })),
          ...(erases ? [{ key: KEYS.erasing, value: '{}' }] : []),
        ],
      )
      const records = group.map(({ key }) => key)
      if (ok) this.#log.info({ records, key: this.#key!.id }, 'keys sealed in place')
      if (ok && !erases) {
        const message = 'former values of the sealed keys stay in history, snapshots and backups; rotate the authority'
        this.#log.warn({ records }, message)
      }
    }
    throw new StorageError('the keys cannot be sealed: other registries keep changing them')
  }

  async #erase(): Promise<void> {
    const { items } = await this.#inner.list(KEYS.erasing)
    if (items.length === 0 || this.#inner.eraseFormer === undefined) return
    try {
      await this.#inner.eraseFormer(SECRET_KINDS)
      await this.#inner.transact([], [{ key: KEYS.erasing, value: undefined }])
    } catch (error) {
      // The next start tries again.
      this.#log.error({ reason: (error as Error).message }, 'the unsealed keys may be in the files of the store still')
    }
  }

  #sealed(operation: Operation): Operation {
    const { key, value } = operation
    if (this.#key === undefined || value === undefined || !isSecret(operation)) return operation
    return { key, value: this.#key.seal(key, value) }
  }

  /** @throws StorageError */
  #opened({ key, value }: { readonly key: string; readonly value: string }): string {
    const sealed = sealOf({ key, value })
    if (sealed === undefined) return value
    const by = this.#keys.get(sealed.keyId)
    if (by === undefined) throw new StorageError(FOREIGN)
    try {
      return by.open(key, sealed)
    } catch (error) {
      throw damaged(key, error)
    }
  }

  /** @throws StorageError */
  #openedItems(items: readonly Item[]): readonly Item[] {
    if (!items.some(isSecret)) return items
    return items.map((item) => (isSecret(item) ? { ...item, value: this.#opened(item) } : item))
  }

  /**
   * A change that cannot be opened is left out: the registry goes on with the keys that it knows,
   * and changes none. `live`: not of the history.
   */
  #openedBatch({ revision, changes }: Batch, live: boolean): Batch {
    const opened: Operation[] = []
    for (const change of changes) {
      const { key, value } = change
      if (!isSecret(change)) opened.push(change)
      else if (value === undefined) {
        opened.push(change)
        this.#unreadable.delete(key)
      } else {
        try {
          opened.push({ key, value: this.#opened({ key, value }) })
          this.#unreadable.delete(key)
          if (live) this.#sealSoon({ key, value })
        } catch (error) {
          if (!live) continue
          this.#unreadable.add(key)
          this.#log.error({ record: key, reason: (error as Error).message }, 'a key was not taken over')
        }
      }
    }
    return { revision, changes: opened }
  }

  /** A registry that runs without the key has written it. */
  #sealSoon(item: { readonly key: string; readonly value: string }): void {
    if (this.#key === undefined || this.#sealing !== undefined || sealOf(item) !== undefined) return
    this.#sealing = this.#seal()
      .catch((error: Error) => this.#log.error({ record: item.key, reason: error.message }, 'a key was not sealed'))
      .finally(() => {
        this.#sealing = undefined
      })
  }
}

const FOREIGN =
  'the keys of this store were sealed with a seal key that this registry does not have: start it with that one'

function isSecret({ key }: { readonly key: string }): boolean {
  return SECRET_KINDS.some((kind) => key.startsWith(kind))
}

/** `undefined`: not sealed, or no JSON. @throws StorageError */
function sealOf({ key, value }: { readonly key: string; readonly value: string }): SealedValue | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(value)
  } catch {
    return undefined
  }
  try {
    return sealedValueOf(parsed)
  } catch (error) {
    throw damaged(key, error)
  }
}

function damaged(key: string, error: unknown): StorageError {
  const reason = error instanceof SealBroken ? error.message : String(error)
  return new StorageError(`the record '${key}' is damaged: ${reason}. Restore the store from a backup`)
}
