/** The flags that give the secret of a backup: exactly one of them. */
import { isUtf8 } from 'node:buffer'
import type { Command } from 'commander'
import { OptionsError } from '../options/fields.ts'
import { BackupError } from '../registry/backup/error.ts'
import type { BackupSecret } from '../registry/backup/secret.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'
import type { CliContext } from './terminal.ts'

export interface SecretFlags {
  readonly passphraseFile?: string
  readonly passphraseEnv?: string
  readonly keyFile?: string
}

const SHORTEST_PASSPHRASE = 12
const FLAGS = '--passphrase-file FILE, --passphrase-env NAME or --key-file FILE'

/** Adds `--passphrase-file`, `--passphrase-env` and `--key-file`. */
export function withSecret(command: Command): Command {
  return command
    .option('--passphrase-file <file>', `a passphrase of at least ${SHORTEST_PASSPHRASE} characters`)
    .option('--passphrase-env <name>', 'the variable that holds the passphrase')
    .option('--key-file <file>', "32 random bytes, as 'openssl rand -base64 32' makes them")
}

/** @throws Failure or BackupError naming the flag, and what to do */
export async function readSecret(flags: SecretFlags, env: CliContext['env']): Promise<BackupSecret> {
  const { passphraseFile, passphraseEnv, keyFile } = flags
  const given = [passphraseFile, passphraseEnv, keyFile].filter((flag) => flag !== undefined)
  if (given.length === 0) {
    const why = 'a backup holds the private keys of the authority, so it is encrypted'
    throw new Failure(EXIT.invalid, 'backup-key-missing', `${why}: give ${FLAGS}`)
  }
  if (given.length > 1) throw invalidUsage(`give one of ${FLAGS}`)
  if (keyFile !== undefined) return { kind: 'key', key: await readKey(keyFile) }
  if (passphraseEnv !== undefined) {
    const passphrase = env[passphraseEnv]
    if (passphrase === undefined || passphrase === '') {
      throw invalid('--passphrase-env', `the variable ${passphraseEnv} is not set`)
    }
    return passphraseOf(passphrase, '--passphrase-env')
  }
  return passphraseOf(await readText(passphraseFile!), '--passphrase-file')
}

async function readKey(path: string): Promise<Buffer> {
  const { readSealKey } = await import('../registry/seal/key-source.ts')
  try {
    const { key } = await readSealKey(`file:${path}`, 'keyFile')
    if (key !== undefined) return Buffer.from(key)
  } catch (error) {
    throw invalid('--key-file', error instanceof OptionsError ? error.issues[0]!.message : (error as Error).message)
  }
  const make = "make one with 'openssl rand -base64 32'"
  throw invalid('--key-file', `${path} has no key of 32 bytes; ${make}, or give a passphrase as --passphrase-file`)
}

async function readText(path: string): Promise<string> {
  const { readKeyFile } = await import('../registry/seal/key-source.ts')
  let bytes: Buffer
  try {
    bytes = readKeyFile(path)
  } catch (error) {
    throw invalid('--passphrase-file', (error as Error).message)
  }
  if (!isUtf8(bytes)) throw invalid('--passphrase-file', `${path} is no text; give a key of 32 bytes as --key-file`)
  return bytes.toString().replace(/\r?\n$/, '')
}

function passphraseOf(passphrase: string, flag: string): BackupSecret {
  if (passphrase.trim().length < SHORTEST_PASSPHRASE) {
    throw invalid(flag, `the passphrase has fewer than ${SHORTEST_PASSPHRASE} characters`)
  }
  return { kind: 'passphrase', passphrase }
}

function invalid(flag: string, message: string): BackupError {
  return new BackupError('backup-key-invalid', `${flag}: ${message}`)
}
