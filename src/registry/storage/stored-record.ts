/**
 * Records as they come from the store, checked before they are believed: a damaged one ends the
 * start with its key and with what to do about it, and not with a crash that names neither.
 */
import { readInstance } from '../../discovery/instance-reader.ts'
import { KEYS, splitKey } from '../records.ts'
import { StorageError } from './errors.ts'

type Check = (record: Readonly<Record<string, unknown>>) => boolean

const text = (value: unknown): boolean => typeof value === 'string'
const number = (value: unknown): boolean => typeof value === 'number'
const object = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)
const policy: Check = ({ document, version }) => number(version) && (document === null || object(document))

const manifest: Check = (record) => policy(record) && number(record.createdAt)

const succession = (value: unknown): boolean => {
  if (!object(value)) return false
  const { stage, active, since, waitedMs } = value as Readonly<Record<string, unknown>>
  return [stage, active].every(text) && [since, waitedMs].every(number)
}

const CHECKS: Readonly<Record<string, Check>> = {
  inst: ({ instance, owner }) => text(owner) && readInstance(instance) !== undefined,
  override: ({ disabled, weight, at }) =>
    typeof disabled === 'boolean' && (weight === null || number(weight)) && number(at),
  svc: ({ gone, lostAt }) => Array.isArray(gone) && number(lostAt),
  policy,
  version: policy,
  manifest,
  'manifest-version': manifest,
  token: ({ id, service, usesLeft, expiresAt }) => [id, service].every(text) && [usesLeft, expiresAt].every(number),
  operator: ({ id, name, access, expiresAt }) =>
    [id, name].every(text) && (access === 'admin' || access === 'read') && (expiresAt === null || number(expiresAt)),
  audit: ({ at, action }) => number(at) && text(action),
  ca: ({ trustDomain, certificate, privateKey = '' }) => [trustDomain, certificate, privateKey].every(text),
  rotation: ({ trustDomain, sequence, certificates, tokens }) =>
    text(trustDomain) && number(sequence) && succession(certificates) && succession(tokens),
  trust: ({ sequence, least, holds }) => [sequence, least].every(number) && Array.isArray(holds),
  jwt: ({ privateKey }) => text(privateKey),
  deny: ({ spiffeId, at, until }) => text(spiffeId) && number(at) && (until === null || number(until)),
}

const UNFINISHED =
  'a restore into this store has not ended; wait for its end, or repeat it with inmesh restore --force if it broke off'

/** What is lost with a record, and how it comes back. */
const LOSS: Readonly<Record<string, string>> = {
  override: 'and disable the instance or set its weight again',
  svc: 'which is written anew',
  policy: 'and apply the policy again',
  version: 'which loses this version of the history only',
  manifest: 'and apply the manifest again',
  'manifest-version': 'which loses this version of the history only',
  token: 'and create the token again',
  operator: 'and create the token of the operator again',
  deny: 'and deny the identity again',
  audit: 'which loses this line of the audit log only',
  jwt: 'which makes a new key and ends all tokens that it signed',
  admin: 'which makes a new admin token',
}

/**
 * The record of a key. `undefined`: an instance that cannot be read, which its process registers
 * again.
 *
 * @throws StorageError naming the key, and what to do
 */
export function readRecord(key: string, value: string): unknown {
  if (key === KEYS.restoring) throw new StorageError(UNFINISHED)
  const [kind] = splitKey(key)
  try {
    const record: unknown = JSON.parse(value)
    if (kind === 'admin') {
      if (text(record)) return record
    } else if (object(record) && (CHECKS[kind]?.(record as Record<string, unknown>) ?? true)) return record
    throw new SyntaxError('fields are missing or of the wrong kind')
  } catch (error) {
    if (kind === 'inst') return undefined
    throw new StorageError(`the record '${key}' is damaged: ${(error as Error).message}. ${remedy(kind, key)}`)
  }
}

function remedy(kind: string, key: string): string {
  if (kind === 'seal')
    return 'Without it no passphrase opens the sealed keys: restore the data directory from a backup.'
  if (kind === 'ca' || kind === 'rotation')
    return 'Without the authority no certificate is worth anything: restore the data directory from a backup.'
  const quoted = key.replaceAll("'", "''")
  return (
    'Restore the data directory from a backup, or stop the registry, delete the record with ' +
    `sqlite3 registry.db "DELETE FROM items WHERE key = '${quoted}'"${LOSS[kind] === undefined ? '' : `, ${LOSS[kind]}`}.`
  )
}
