/** What a backup holds, checked as a registry checks its store when it starts. */
import { SECRET_KINDS, splitKey } from '../records.ts'
import { SealBroken, sealedValueOf } from '../seal/sealing-key.ts'
import { StorageError } from '../storage/errors.ts'
import type { Item } from '../storage/storage.ts'
import { readRecord } from '../storage/stored-record.ts'
import { BackupError } from './error.ts'
import type { BackupOrigin } from './head.ts'
import type { BackupEnd } from './lines.ts'
import { trustDomainOf } from './trust-domain.ts'

export interface BackupContents {
  readonly origin: BackupOrigin
  readonly epoch: string
  readonly revision: number
  /** In the order of keys. */
  readonly items: readonly Item[]
  readonly counts: BackupCounts
  /** Of the seal keys without which no registry starts on it. */
  readonly sealKeyIds: readonly string[]
}

export interface BackupCounts {
  readonly records: number
  readonly services: number
  readonly instances: number
  /** Instances that cannot be read; their processes register again. */
  readonly unreadableInstances: number
  readonly policies: number
  /** Gateway API manifests. */
  readonly manifests: number
  readonly tokens: number
  readonly operators: number
  /** Denied identities. */
  readonly denials: number
}

/** @throws BackupError `backup-invalid` naming the record */
export function checkContents(origin: BackupOrigin, items: readonly Item[], end: BackupEnd): BackupContents {
  const kinds = new Map<string, number>()
  const services = new Set<string>()
  const sealKeyIds = new Set<string>()
  let unreadableInstances = 0
  for (const item of items) {
    const [kind, name] = splitKey(item.key)
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    if (kind === 'inst' || kind === 'policy') services.add(name)
    const sealedBy = SECRET_KINDS.some((secret) => item.key.startsWith(secret)) ? sealOf(item) : undefined
    if (sealedBy !== undefined) sealKeyIds.add(sealedBy)
    else if (read(item) === undefined && kind === 'inst') unreadableInstances += 1
  }
  const count = (kind: string): number => kinds.get(kind) ?? 0
  if (count('ca') === 0) throw invalid(`it has no certificate authority ('ca/…')`)
  const trustDomain = trustDomainOf(items) ?? null
  if (trustDomain !== null && origin.trustDomain !== null && trustDomain !== origin.trustDomain) {
    throw invalid(`its head is of trust domain '${origin.trustDomain}', its records of '${trustDomain}'`)
  }
  return {
    origin,
    epoch: end.epoch,
    revision: end.revision,
    items,
    counts: {
      records: items.length,
      services: services.size,
      instances: count('inst'),
      unreadableInstances,
      policies: count('policy'),
      manifests: count('manifest'),
      tokens: count('token'),
      operators: count('operator'),
      denials: count('deny'),
    },
    sealKeyIds: [...sealKeyIds],
  }
}

/** The id of the key that sealed a record; `undefined`: it is not sealed. */
function sealOf({ key, value }: Item): string | undefined {
  try {
    return sealedValueOf(JSON.parse(value))?.keyId
  } catch (error) {
    // Bad JSON is found by the record's reader.
    if (!(error instanceof SealBroken)) return undefined
    throw invalid(`the record '${key}' is damaged: ${error.message}`)
  }
}

function read({ key, value }: Item): unknown {
  try {
    return readRecord(key, value)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    throw invalid(`the record '${key}' is damaged`)
  }
}

function invalid(what: string): BackupError {
  return new BackupError('backup-invalid', what)
}
