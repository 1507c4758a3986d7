/**
 * Restores a backup into a store that registries share, while none of them runs. A mark in the
 * store keeps a registry from starting on a part of it.
 */
import { isOfRun, KEYS } from '../records.ts'
import { StorageError } from '../storage/errors.ts'
import { OWN_KEYS } from '../storage/etcd/keys.ts'
import type { Compare, Item, Operation, Storage } from '../storage/storage.ts'
import type { BackupContents } from './contents.ts'
import { BackupError } from './error.ts'
import { foreign } from './restore-embedded.ts'
import { trustDomainOf } from './trust-domain.ts'

const MOST_AT_ONCE = 500
/** Of one transaction; etcd refuses requests above 1.5 MiB. */
const MOST_BYTES = 512 * 1024

export interface SharedRestoreOptions {
  /** Names the store in messages. */
  readonly place: string
  /** Replace what is there, after `save` has kept it. */
  readonly replace: boolean
  readonly dryRun: boolean
  /** Keeps the former state; returns where. */
  readonly save: () => Promise<string>
}

/**
 * Returns where the former state is kept.
 *
 * @throws BackupError; nothing was changed then, or the mark stays and the message says so
 */
export async function restoreShared(
  storage: Storage,
  contents: BackupContents,
  { place, replace, dryRun, save }: SharedRestoreOptions,
): Promise<string | undefined> {
  const { items, revision } = await storage.list('')
  refuseRegistries(items, place)
  const former = items.filter(({ key }) => !isOfRun(key))
  const isUnfinished = items.some(({ key }) => key === KEYS.restoring)
  if (former.length > 0 && !replace) {
    throw new BackupError(
      'store-occupied',
      `${place} has a mesh already; give another prefix, or --force to replace it`,
    )
  }
  const formerDomain = trustDomainOf(former) ?? null
  const { trustDomain } = contents.origin
  if (formerDomain !== null && trustDomain !== null && formerDomain !== trustDomain) throw foreign(place, trustDomain)
  if (dryRun) return undefined
  // What an unfinished restore left is no state.
  const kept = former.length > 0 && !isUnfinished ? await save() : undefined
  await write(storage, former, contents.items, [{ prefix: KEYS.registry(''), unchangedSince: revision }], place)
  return kept
}

async function write(
  storage: Storage,
  former: readonly Item[],
  items: readonly Item[],
  alone: readonly Compare[],
  place: string,
): Promise<void> {
  let begun = false
  const change = async (operations: readonly Operation[]): Promise<void> => {
    const { ok } = await storage.transact(alone, operations)
    if (!ok) throw new StorageError('a registry started on it meanwhile; stop it')
    begun = true
  }
  try {
    await change([{ key: KEYS.restoring, value: JSON.stringify({ at: Date.now() }) }])
    const wanted = new Set(items.map(({ key }) => key))
    const gone = former.filter(({ key }) => !wanted.has(key)).map(({ key }) => ({ key, value: undefined }))
    for (const some of parts(gone)) await change(some)
    for (const some of parts(items.map(({ key, value }) => ({ key, value })))) await change(some)
    await verify(storage, items)
    // In one transaction, so that the next start is another incarnation (decision 0016).
    await change([
      { key: OWN_KEYS.epoch, value: undefined },
      { key: KEYS.restoring, value: undefined },
    ])
  } catch (error) {
    const reason = (error as Error).message
    const state = begun ? `; no registry starts on ${place} until you restore again, with --force` : ''
    throw new BackupError('restore-failed', `cannot restore into ${place}: ${reason}${state}`, { cause: error })
  }
}

function* parts(operations: readonly Operation[]): Generator<readonly Operation[]> {
  let part: Operation[] = []
  let bytes = 0
  for (const operation of operations) {
    const size = operation.key.length + 3 * (operation.value?.length ?? 0)
    if (part.length > 0 && (part.length === MOST_AT_ONCE || bytes + size > MOST_BYTES)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(operation)
    bytes += size
  }
  if (part.length > 0) yield part
}

async function verify(storage: Storage, wanted: readonly Item[]): Promise<void> {
  const found = (await storage.list('')).items.filter(({ key }) => !isOfRun(key))
  const same =
    found.length === wanted.length &&
    found.every(({ key, value }, i) => key === wanted[i]!.key && value === wanted[i]!.value)
  if (!same) throw new StorageError('others wrote to it meanwhile')
}

function refuseRegistries(items: readonly Item[], place: string): void {
  const running = items.filter(({ key }) => key.startsWith(KEYS.registry('')))
  if (running.length === 0) return
  const names = running.map(({ key, value }) => (JSON.parse(value) as { url?: string }).url ?? key)
  const what = 'stop them, and wait 10 s if they were killed'
  throw new BackupError('store-in-use', `registries run on ${place}: ${names.join(', ')}; ${what}`)
}
