/**
 * Where a seal key comes from: a file, the environment, a command, or the program itself. No error
 * shows any part of it.
 */
import { isUtf8 } from 'node:buffer'
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import { reasonOf } from '../../core/errors.ts'
import { type Field, OptionsError } from '../../options/fields.ts'
import { redactText } from '../../telemetry/redact.ts'
import { COMMAND_MS, MOST_BYTES, outputOf } from './key-command.ts'
import { KEY_BYTES } from './sealing-key.ts'

/**
 * `'file:PATH'`, `'env:NAME'`, `'cmd:COMMAND'`, 32 bytes, or a function that gives a text or 32
 * bytes within 10 s. A text is 32 bytes as base64 or hex, or else a passphrase of at least 12
 * characters.
 */
export type SealKeySource = string | Uint8Array | (() => string | Uint8Array | Promise<string | Uint8Array>)

/** A key, or what one is derived from. */
export type SealSecret =
  | { readonly key: Uint8Array; readonly passphrase?: undefined }
  | { readonly passphrase: string; readonly key?: undefined }

/** The keys that were given; with neither the store must not be sealed. */
export interface SealSecrets {
  readonly seal: SealSecret | undefined
  /** Opens what was sealed before the key changed. */
  readonly former: SealSecret | undefined
}

/** What a registry is given. */
interface SealKeyOptions {
  readonly sealKey: SealKeySource | undefined
  readonly formerSealKey: SealKeySource | undefined
}

const SHORTEST_PASSPHRASE = 12
const HINT = `expected 32 bytes as base64 or hex, as 'openssl rand -base64 32' makes them, or a passphrase of at least ${SHORTEST_PASSPHRASE} characters`
const EXPECTED = "expected 'file:PATH', 'env:NAME' or 'cmd:COMMAND'"
const SOURCE = /^(file|env|cmd):(.+)$/s
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/

/** The option of a seal key. An invalid value may be the key itself, so it is never shown. */
export const SEAL_KEY: Field<SealKeySource> = {
  optional: false,
  schema: { type: 'string', description: EXPECTED },
  parse(value, path, issues) {
    if (typeof value === 'string') {
      const [, kind, rest] = SOURCE.exec(value) ?? []
      if (kind === undefined || value.includes('\0')) {
        issues.push({ path, message: `${EXPECTED}, never the key itself, which other users of the machine would see` })
      } else if (kind === 'env' && !VARIABLE.test(rest!)) {
        issues.push({ path, message: 'expected the name of a variable after env:' })
      }
    } else if (value instanceof Uint8Array) {
      if (value.length !== KEY_BYTES) issues.push({ path, message: `expected ${KEY_BYTES} bytes, got ${value.length}` })
    } else if (typeof value !== 'function') {
      issues.push({ path, message: `${EXPECTED}, ${KEY_BYTES} bytes, or a function that gives them` })
    }
    return value as SealKeySource
  },
}

/** @throws OptionsError that names the option and says what to do */
export async function readSealKeys({ sealKey, formerSealKey }: SealKeyOptions): Promise<SealSecrets> {
  const seal = sealKey === undefined ? undefined : await readSealKey(sealKey, 'sealKey')
  const former = formerSealKey === undefined ? undefined : await readSealKey(formerSealKey, 'formerSealKey')
  return { seal, former }
}

/** @throws OptionsError that names the option `field` and says what to do */
export async function readSealKey(source: SealKeySource, field: string): Promise<SealSecret> {
  try {
    if (source instanceof Uint8Array) return { key: source }
    if (typeof source === 'function') return secretOf(await ask(source), 'the function')
    const [, kind, rest] = SOURCE.exec(source) as unknown as [string, string, string]
    if (kind === 'file') return secretOf(readKeyFile(rest), rest)
    if (kind === 'cmd') return secretOf(await outputOf(rest), 'the command')
    const text = process.env[rest]
    if (text === undefined || text === '') throw new Error(`the variable ${rest} is not set`)
    return secretOf(text, `the variable ${rest}`)
  } catch (error) {
    throw new OptionsError('startRegistry', [{ path: [field], message: (error as Error).message }])
  }
}

async function ask(source: () => string | Uint8Array | Promise<string | Uint8Array>): Promise<string | Uint8Array> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`it gave no key within ${COMMAND_MS / 1_000} s`)), COMMAND_MS)
  })
  try {
    return await Promise.race([source(), late])
  } catch (error) {
    const reason = reasonOf(error)
    throw new Error(`the function failed: ${redactText(reason, 300)}`)
  } finally {
    clearTimeout(timer)
  }
}

/** `from` names the source in messages. */
function secretOf(given: string | Uint8Array, from: string): SealSecret {
  if (typeof given !== 'string' && !(given instanceof Uint8Array)) throw new Error(`${from} gave no text and no bytes`)
  const bytes = Buffer.from(given)
  // As `head -c 32 /dev/urandom` makes them: 32 random bytes are no UTF-8.
  if (bytes.length === KEY_BYTES && !isUtf8(bytes)) return { key: bytes }
  if (bytes.length > MOST_BYTES) throw new Error(`${from} has more than ${MOST_BYTES} bytes; ${HINT}`)
  if (!isUtf8(bytes)) throw new Error(`${from} has bytes that are no text, but not ${KEY_BYTES}; ${HINT}`)
  const text = bytes.toString().replace(/\r?\n$/, '')
  const key = decoded(text)
  if (key !== undefined) return { key }
  if (text.trim().length < SHORTEST_PASSPHRASE) throw new Error(`${from} has no key; ${HINT}`)
  return { passphrase: text.normalize() }
}

function decoded(text: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/]{43}=?$|^[A-Za-z0-9_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
}

/** @throws Error if it cannot be read, or if others may read or replace it */
export function readKeyFile(path: string): Buffer {
  let file: number
  try {
    // A pipe would wait for a writer.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    throw new Error(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw new Error(`${path} is no regular file; give a file, or a command as cmd:COMMAND`)
    const exposed = exposedTo(path, found)
    if (exposed !== undefined) throw new Error(exposed)
    if (found.size > MOST_BYTES) throw new Error(`${path} has more than ${MOST_BYTES} bytes; ${HINT}`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/**
 * Why others may know the key in a file. The administrator may share one with a group: container
 * platforms hand out secrets so.
 */
function exposedTo(path: string, { mode, uid }: Stats): string | undefined {
  const own = process.getuid?.()
  if (own === undefined) return undefined
  if (uid !== own && uid !== 0)
    return `${path} belongs to user ${uid}, who may replace the key; make a copy of your own`
  const others = uid === 0 ? 0o037 : 0o077
  if ((mode & others) === 0) return undefined
  const is = (mode & 0o777).toString(8).padStart(3, '0')
  return `${path} has mode ${is}, so others may read or replace the key; run 'chmod ${uid === 0 ? '440' : '600'} ${path}'`
}
