/**
 * Authorities in directories: an offline root, and an intermediate for `inmesh registry --ca-dir`.
 * No key is ever overwritten.
 */
import { existsSync, lstatSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Authority, createAuthority, loadAuthority } from '../identity/certificate.ts'
import { createIntermediateRequest, isForOtherDomain, issueIntermediate } from '../identity/intermediate.ts'
import { generateIdentityKey, privateKeyPem, readP256PrivateKey } from '../identity/key.ts'
import { makePrivateDirectory } from '../identity/private-directory.ts'
import { insecurePermissions } from '../identity/private-files.ts'
import { readSigningRequest } from '../identity/signing-request.ts'
import { BACKDATED_MS } from '../identity/validity.ts'
import { ChainMistake, readChain } from '../registry/ca/chain.ts'
import { CHAIN_FILE, FORMER_CHAIN_FILE, FORMER_KEY_FILE, issuerFrom, KEY_FILE } from '../registry/ca/external-issuer.ts'
import { EXIT, Failure } from './failure.ts'

const ROOT_KEY = 'root.key'
const ROOT_CERTIFICATE = 'root.pem'
const NEXT_KEY = 'next.key'
const NEXT_REQUEST = 'next.csr'
const LONGEST_FILE = 256 * 1024

/** A new root whose key stays in `directory`. Returns where its certificate is. */
export function createRoot(directory: string, trustDomain: string, lifeMs: number): { certificate: string } {
  const now = Date.now()
  const root = createAuthority({ trustDomain, notBefore: now - BACKDATED_MS, notAfter: now + lifeMs })
  prepare(directory)
  for (const name of [ROOT_KEY, ROOT_CERTIFICATE]) refuseExisting(join(directory, name))
  writeNew(join(directory, ROOT_KEY), root.privateKey)
  writeNew(join(directory, ROOT_CERTIFICATE), root.certificate)
  return { certificate: join(directory, ROOT_CERTIFICATE) }
}

/** The chain of an intermediate that the root in `directory` signs; the root is its last. */
export function signRequest(directory: string, csr: string, lifeMs: number): string {
  const root = loadRoot(directory)
  const now = Date.now()
  if (now >= root.notAfter) throw refuse(`the root in ${directory} has ended; make another one by 'inmesh ca init'`)
  let publicKey: ReturnType<typeof readSigningRequest>
  try {
    publicKey = readSigningRequest(csr)
  } catch (error) {
    throw refuse((error as Error).message)
  }
  const { trustDomain } = root
  if (isForOtherDomain(csr, publicKey, trustDomain)) {
    const hint = `make it by 'inmesh ca csr --trust-domain ${trustDomain}'`
    throw refuse(`the request is for another trust domain; the root in ${directory} is of ${trustDomain}; ${hint}`)
  }
  const period = { notBefore: now - BACKDATED_MS, notAfter: now + lifeMs }
  return issueIntermediate(root, { publicKey, ...period }) + root.certificate
}

/** A key for an intermediate, and the request for it. The key that waits already is kept. */
export async function createRequest(directory: string, trustDomain: string): Promise<{ file: string; csr: string }> {
  prepare(directory)
  const path = join(directory, NEXT_KEY)
  if (!existsSync(path)) writeNew(path, privateKeyPem((await generateIdentityKey()).privateKey))
  const key = readP256PrivateKey(readSecret(path))
  if (key === undefined) throw refuse(`${path} is no P-256 key; remove it`)
  const csr = createIntermediateRequest(key, trustDomain)
  const file = join(directory, NEXT_REQUEST)
  rmSync(file, { force: true })
  writeNew(file, csr)
  return { file, csr }
}

/**
 * Puts the chain beside the key that waits for it. The intermediate so far becomes the former one,
 * which the registry needs until it is withdrawn.
 */
export function installChain(directory: string, pem: string, trustDomain: string | undefined): { id: string } {
  const keyFile = join(directory, NEXT_KEY)
  if (!existsSync(keyFile)) throw refuse(`there is no ${keyFile}; make it by 'inmesh ca csr --dir ${directory}'`)
  const chain = issuerFrom(readChain(pem, Date.now(), trustDomain), readSecret(keyFile))
  const at = (name: string): string => join(directory, name)
  if (existsSync(at(KEY_FILE))) {
    renameSync(at(CHAIN_FILE), at(FORMER_CHAIN_FILE))
    renameSync(at(KEY_FILE), at(FORMER_KEY_FILE))
  }
  writeNew(at(`${CHAIN_FILE}.tmp`), pem)
  renameSync(at(`${CHAIN_FILE}.tmp`), at(CHAIN_FILE))
  renameSync(keyFile, at(KEY_FILE))
  rmSync(at(NEXT_REQUEST), { force: true })
  return { id: chain.intermediate.id }
}

/** @throws Failure that names the file */
export function readText(path: string, what: string): string {
  try {
    if (statSync(path).size > LONGEST_FILE) throw new Error('it is too large')
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw refuse(`cannot read ${what} from ${path}: ${(error as Error).message}`)
  }
}

/** A chain or a key that does not fit, as a failure of the command. */
export function asChainFailure(error: unknown): unknown {
  return error instanceof ChainMistake ? refuse(`the chain is refused: ${error.message}`) : error
}

function loadRoot(directory: string): Authority {
  const certificate = readText(join(directory, ROOT_CERTIFICATE), 'the root')
  const root = loadAuthority({ certificate, privateKey: readSecret(join(directory, ROOT_KEY)) })
  if (root.chain.length > 0) throw refuse(`${join(directory, ROOT_CERTIFICATE)} is no root`)
  return root
}

function readSecret(path: string): string {
  const text = readText(path, 'the key')
  const exposed = insecurePermissions(path, statSync(path), '600')
  if (exposed !== undefined) throw refuse(exposed)
  return text
}

function prepare(directory: string): void {
  try {
    makePrivateDirectory(directory)
    if (!statSync(directory).isDirectory()) throw new Error('it is no directory')
  } catch (error) {
    throw refuse(`${directory} cannot be used: ${(error as Error).message}`)
  }
}

function refuseExisting(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return
  throw refuse(`${path} is there already, and no root is overwritten; choose another directory`)
}

function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    throw refuse(`cannot write ${path}: ${(error as Error).message}`)
  }
}

function refuse(message: string): Failure {
  return new Failure(EXIT.invalid, 'invalid-authority', message)
}
