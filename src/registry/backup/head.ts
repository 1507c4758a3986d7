/**
 * The head of a backup: three lines of text that name its format, say how its keys are derived and
 * authenticate both.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { BackupError } from './error.ts'
import {
  type BackupKeys,
  type BackupSecret,
  deriveKeys,
  isDerivation,
  type KeyDerivation,
  newDerivation,
} from './secret.ts'

const FORMAT = 1
const MAGIC = 'inmesh-backup'
/** Far above any head. */
export const LONGEST_HEAD = 4_096

/** What a reader learns before the rest is opened. */
export interface BackupOrigin {
  /** `null`: unknown, because the keys of the store are sealed and nothing is registered. */
  readonly trustDomain: string | null
  /** Wall clock, ms. */
  readonly createdAt: number
  /** Of inmesh. */
  readonly version: string
  /** Of the store that it was made of, such as `sqlite`. */
  readonly engine: string
}

export interface OpenedHead {
  readonly origin: BackupOrigin
  readonly keys: BackupKeys
  /** Of the head; every chunk is bound to it. */
  readonly mac: Buffer
  /** The length of the head in bytes. */
  readonly length: number
}

export async function createHead(
  origin: BackupOrigin,
  secret: BackupSecret,
): Promise<{ readonly bytes: Buffer; readonly keys: BackupKeys; readonly mac: Buffer }> {
  const derivation = newDerivation(secret)
  const keys = await deriveKeys(secret, derivation)
  const fields = JSON.stringify({ ...origin, key: derivation })
  const lines = Buffer.from(`${MAGIC} ${FORMAT} ${digestOf(fields)}\n${fields}\n`)
  const mac = keys.mac(lines)
  return { bytes: Buffer.concat([lines, Buffer.from(`${mac.toString('base64url')}\n`)]), keys, mac }
}

/**
 * @param start - the first {@link LONGEST_HEAD} bytes of the file, or all of a shorter one
 * @throws BackupError if it is no backup, of a newer version, damaged, or made with another secret
 */
export async function openHead(start: Buffer, secret: BackupSecret): Promise<OpenedHead> {
  const { lines, fields, mac, length } = split(start)
  const { origin, derivation } = parse(fields)
  const keys = await deriveKeys(secret, derivation)
  const own = keys.mac(lines)
  // As text: the last character of base64url has bits that mean nothing.
  const expected = Buffer.from(own.toString('base64url'))
  if (expected.length !== mac.length || !timingSafeEqual(expected, mac)) {
    const name = secret.kind === 'key' ? 'key file' : 'passphrase'
    throw new BackupError('backup-wrong-key', `this is not the ${name} with which the backup was made`)
  }
  return { origin, keys, mac: own, length }
}

function split(start: Buffer): { lines: Buffer; fields: string; mac: Buffer; length: number } {
  if (start.length === 0) throw new BackupError('backup-unreadable', 'it is empty')
  const text = start.toString('latin1')
  const [first = '', fields, mac] = text.split('\n', 3)
  const found = /^inmesh-backup (\d{1,9}) ([A-Za-z0-9_-]{43})$/.exec(first)
  if (found === null) {
    const cut = text.startsWith(`${MAGIC} `) || `${MAGIC} `.startsWith(text)
    if (cut) throw damaged('its first line was cut off or changed')
    throw new BackupError('backup-unreadable', 'it is no backup that `inmesh backup` made')
  }
  const format = Number(found[1])
  if (format > FORMAT) {
    const known = `this inmesh reads up to format ${FORMAT}`
    throw new BackupError(
      'backup-version',
      `its format is ${format}, and ${known}; use the inmesh that made it, or newer`,
    )
  }
  const length = first.length + (fields?.length ?? 0) + (mac?.length ?? 0) + 3
  const whole = format === FORMAT && fields !== undefined && mac !== undefined && text[length - 1] === '\n'
  if (!whole || digestOf(Buffer.from(fields, 'latin1')) !== found[2]) throw damaged('its head was cut off or changed')
  const lines = start.subarray(0, first.length + fields.length + 2)
  return { lines, fields: Buffer.from(fields, 'latin1').toString(), mac: Buffer.from(mac, 'latin1'), length }
}

function parse(text: string): { origin: BackupOrigin; derivation: KeyDerivation } {
  const fields = jsonOf(text) as { readonly key?: unknown } | null | undefined
  const origin = originIn(fields)
  if (origin !== undefined && isDerivation(fields?.key)) return { origin, derivation: fields.key }
  throw damaged('its head has fields that are missing or invalid')
}

/** `undefined`: a field is missing or invalid. */
export function originIn(fields: unknown): BackupOrigin | undefined {
  const { trustDomain, createdAt, version, engine } = (fields ?? {}) as Partial<BackupOrigin>
  const texts = [trustDomain ?? '', version, engine].every((one) => typeof one === 'string' && one.length <= 255)
  if (!texts || Number.isNaN(new Date(createdAt ?? Number.NaN).getTime())) return undefined
  return { trustDomain: trustDomain ?? null, createdAt, version, engine } as BackupOrigin
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function digestOf(fields: string | Buffer): string {
  return createHash('sha256').update(fields).digest('base64url')
}

function damaged(what: string): BackupError {
  return new BackupError('backup-damaged', what)
}
