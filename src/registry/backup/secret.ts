/**
 * The secret that opens a backup: a passphrase, stretched by scrypt, or the 32 random bytes of a
 * key file. Each backup has different keys, because its salt is random.
 */
import { createHmac, hkdfSync, randomBytes, scrypt } from 'node:crypto'
import { BackupError } from './error.ts'

export type BackupSecret =
  | { readonly kind: 'passphrase'; readonly passphrase: string }
  | { readonly kind: 'key'; readonly key: Buffer }

/** How the keys of one backup follow from its secret; written in its head. */
export interface KeyDerivation {
  readonly kind: BackupSecret['kind']
  /** 32 bytes, base64url. */
  readonly salt: string
  /** Of a passphrase only. */
  readonly scrypt?: ScryptCost
}

export interface ScryptCost {
  readonly n: number
  readonly r: number
  readonly p: number
}

export interface BackupKeys {
  /** Of AES-256-GCM. */
  readonly chunks: Buffer
  /** HMAC-SHA256 of the head. */
  readonly mac: (head: Buffer) => Buffer
}

export const KEY_BYTES = 32
/** OWASP's advice for scrypt: 128 MiB and about half a second for each guess. */
const COST: ScryptCost = { n: 2 ** 17, r: 8, p: 1 }
/** What a stranger's file may make us spend. */
const LARGEST_MEMORY = 512 * 1024 * 1024

export function newDerivation(secret: BackupSecret): KeyDerivation {
  const salt = randomBytes(KEY_BYTES).toString('base64url')
  return secret.kind === 'key' ? { kind: 'key', salt } : { kind: 'passphrase', salt, scrypt: COST }
}

/** @throws BackupError `backup-wrong-key` if the backup was made with the other kind of secret */
export async function deriveKeys(secret: BackupSecret, derivation: KeyDerivation): Promise<BackupKeys> {
  if (secret.kind !== derivation.kind) throw otherKind(derivation.kind)
  const salt = Buffer.from(derivation.salt, 'base64url')
  const root = secret.kind === 'key' ? secret.key : await stretch(secret.passphrase, salt, derivation.scrypt ?? COST)
  const both = Buffer.from(hkdfSync('sha256', root, salt, 'inmesh backup 1', 2 * KEY_BYTES))
  const macKey = both.subarray(KEY_BYTES)
  return { chunks: both.subarray(0, KEY_BYTES), mac: (head) => createHmac('sha256', macKey).update(head).digest() }
}

/** Whether the fields of a head can be used, without spending more than a backup is worth. */
export function isDerivation(value: unknown): value is KeyDerivation {
  const { kind, salt, scrypt: cost } = (value ?? {}) as Partial<KeyDerivation>
  if (typeof salt !== 'string' || Buffer.from(salt, 'base64url').length !== KEY_BYTES) return false
  if (kind === 'key') return true
  if (kind !== 'passphrase' || typeof cost !== 'object' || cost === null) return false
  const { n, r, p } = cost
  if (![n, r, p].every((one) => Number.isSafeInteger(one) && one > 0)) return false
  return n >= 2 && (n & (n - 1)) === 0 && 128 * n * r <= LARGEST_MEMORY && p <= 16
}

function stretch(passphrase: string, salt: Buffer, { n, r, p }: ScryptCost): Promise<Buffer> {
  const maxmem = 128 * n * r + 128 * r * p + 1024 * 1024
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, { N: n, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

function otherKind(made: BackupSecret['kind']): BackupError {
  const wanted = made === 'key' ? '--key-file' : '--passphrase-file or --passphrase-env'
  const what = made === 'key' ? 'a key file' : 'a passphrase'
  return new BackupError('backup-wrong-key', `the backup was made with ${what}; give ${wanted}`)
}
