/**
 * An intermediate that was made elsewhere, in a directory: its key never enters the store. The
 * files are `intermediate.key` and `chain.pem`, which ends with the root.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { lstatSync, readFileSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Authority, loadAuthority } from '../../identity/certificate.ts'
import { readP256PrivateKey } from '../../identity/key.ts'
import { insecurePermissions } from '../../identity/private-files.ts'
import { ChainMistake, type IssuerChain, readChain } from './chain.ts'

export const KEY_FILE = 'intermediate.key'
export const CHAIN_FILE = 'chain.pem'
/** Until it is withdrawn, so that a restart meanwhile can sign with it. */
export const FORMER_KEY_FILE = 'former.key'
export const FORMER_CHAIN_FILE = 'former.pem'
/** A chain of four certificates with large keys has less. */
const LONGEST_FILE = 256 * 1024

export interface ExternalIssuer extends IssuerChain {
  /** Signs. */
  readonly authority: Authority
}

/** The current intermediate first; then the former one, if the directory keeps it. */
export type ExternalIssuers = readonly [ExternalIssuer, ...ExternalIssuer[]]

/** @throws ChainMistake that names the file and says what to do */
export function readExternalIssuers(directory: string, now: number, trustDomain: string | undefined): ExternalIssuers {
  const current = readPair(directory, KEY_FILE, CHAIN_FILE, now, trustDomain)
  const hasFormer = statSync(join(directory, FORMER_KEY_FILE), { throwIfNoEntry: false }) !== undefined
  if (!hasFormer) return [current]
  try {
    return [current, readPair(directory, FORMER_KEY_FILE, FORMER_CHAIN_FILE, now, current.trustDomain)]
  } catch (error) {
    // It has ended: nothing that it signed is left.
    if (error instanceof ChainMistake && error.message.includes('it was valid until')) return [current]
    throw error
  }
}

function readPair(
  directory: string,
  keyFile: string,
  chainFile: string,
  now: number,
  trustDomain: string | undefined,
): ExternalIssuer {
  const key = readFile(join(directory, keyFile), true)
  const path = join(directory, chainFile)
  const pem = readFile(path, false)
  if (readP256PrivateKey(key) === undefined) {
    throw new ChainMistake(`${join(directory, keyFile)}: expected a P-256 key in PEM, without a passphrase`)
  }
  try {
    return issuerFrom(readChain(pem, now, trustDomain), key)
  } catch (error) {
    if (!(error instanceof ChainMistake)) throw error
    throw new ChainMistake(`${path}: ${error.message}`)
  }
}

/** @throws ChainMistake if the key is another one's */
export function issuerFrom(chain: IssuerChain, key: string): ExternalIssuer {
  const { certificate } = chain.intermediate.record
  if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
    throw new ChainMistake('its first certificate, that of the intermediate, is for another key')
  }
  try {
    return { ...chain, authority: loadAuthority({ certificate, privateKey: key }) }
  } catch (error) {
    throw new ChainMistake((error as Error).message)
  }
}

/** Changes when one of the files does. */
export function versionOf(directory: string): string {
  return [KEY_FILE, CHAIN_FILE, FORMER_KEY_FILE, FORMER_CHAIN_FILE]
    .map((name) => statSync(join(directory, name), { throwIfNoEntry: false }))
    .map((found) => (found === undefined ? '-' : `${found.ino} ${found.mtimeMs} ${found.size}`))
    .join(' ')
}

function readFile(path: string, isSecret: boolean): string {
  let found: Stats
  try {
    // Links are followed: secrets are often mounted so.
    found = statSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const missing = lstatSync(path, { throwIfNoEntry: false }) === undefined
    const hint = missing
      ? "; make it by 'inmesh ca csr --dir' and 'inmesh ca import --dir', or by your own authority"
      : ''
    throw new ChainMistake(`${path} cannot be read (${code})${hint}`)
  }
  if (!found.isFile() || found.size > LONGEST_FILE) throw new ChainMistake(`${path} is no file of a key or a chain`)
  const exposed = isSecret ? insecurePermissions(path, found, '600') : undefined
  if (exposed !== undefined) throw new ChainMistake(exposed)
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ChainMistake(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}
