/** Derives a seal key from a passphrase by scrypt. The store keeps salt and costs. */
import { randomBytes, scrypt } from 'node:crypto'
import { KEYS } from '../records.ts'
import { StorageError } from '../storage/errors.ts'
import type { Storage } from '../storage/storage.ts'
import { KEY_BYTES } from './sealing-key.ts'

/** 128 MiB and about half a second. */
const COSTS = { N: 2 ** 17, r: 8, p: 1 } as const
/** 1 GiB. A record that asks for more is damaged. */
const MOST_BLOCKS = 2 ** 23
const SALT_BYTES = 16

interface SaltRecord {
  readonly kdf: 'scrypt'
  /** base64 */
  readonly salt: string
  readonly N: number
  readonly r: number
  readonly p: number
}

/** The key of a passphrase. Without a salt in the store it makes one, if `mayMake`. */
export async function deriveKey(storage: Storage, passphrase: string, mayMake: boolean): Promise<Buffer | undefined> {
  const stored = (await readSalt(storage)) ?? (mayMake ? await makeSalt(storage) : undefined)
  if (stored === undefined) return undefined
  const { salt, N, r, p } = stored
  const options = { N, r, p, maxmem: 128 * N * r + 128 * r * p + 2 ** 20 }
  return await new Promise((resolve, reject) => {
    scrypt(passphrase, Buffer.from(salt, 'base64'), KEY_BYTES, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}

async function makeSalt(storage: Storage): Promise<SaltRecord | undefined> {
  const record: SaltRecord = { kdf: 'scrypt', salt: randomBytes(SALT_BYTES).toString('base64'), ...COSTS }
  // Another registry on the same store may have been first; then its salt counts.
  await storage.transact([{ key: KEYS.salt, revision: 0 }], [{ key: KEYS.salt, value: JSON.stringify(record) }])
  return await readSalt(storage)
}

async function readSalt(storage: Storage): Promise<SaltRecord | undefined> {
  const { items } = await storage.list(KEYS.salt)
  const found = items.find(({ key }) => key === KEYS.salt)
  if (found === undefined) return undefined
  try {
    const record = JSON.parse(found.value) as SaltRecord
    if (isSound(record)) return record
  } catch {
    // Said below.
  }
  throw new StorageError(
    `the record '${KEYS.salt}' is damaged, and without it no passphrase opens the sealed keys: restore the store from a backup`,
  )
}

function isSound({ kdf, salt, N, r, p }: SaltRecord): boolean {
  const whole = [N, r, p].every((one) => Number.isSafeInteger(one) && one > 0)
  return (
    kdf === 'scrypt' && typeof salt === 'string' && whole && Number.isInteger(Math.log2(N)) && N * r * p <= MOST_BLOCKS
  )
}
