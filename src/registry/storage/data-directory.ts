/**
 * The data directory of a registry, which holds the authority's key. Refuses a directory that
 * others can read or replace, before anything in it is opened.
 */
import { chmodSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makePrivateDirectory } from '../../identity/private-directory.ts'
import { insecureLink, insecurePermissions } from '../../identity/private-files.ts'
import { OptionsError } from '../../options/fields.ts'

export const STORE_FILE = 'registry.db'
export const ADMIN_TOKEN_FILE = 'admin-token'
/** What SQLite and the store keep beside the file. */
const BESIDE_STORE = ['', '-wal', '-shm', '-journal', '-run']

/**
 * Makes the directory if it is not there. Returns why others may know the admin token, `undefined`
 * if they cannot: a token, unlike the authority's key, can be replaced.
 * @throws OptionsError that says what to do
 */
export function prepareDataDirectory(directory: string): string | undefined {
  try {
    makePrivateDirectory(directory)
    checkDirectory(directory)
    for (const end of BESIDE_STORE) checkFile(join(directory, `${STORE_FILE}${end}`))
    return insecureFile(join(directory, ADMIN_TOKEN_FILE))
  } catch (error) {
    if (error instanceof OptionsError) throw error
    return refuse(
      `${directory} cannot be used: ${(error as Error).message}; give a directory that this process may write`,
    )
  }
}

/**
 * An empty file, for the owner alone. It stands for a first admin token that is to be replaced, so
 * that a start that ends before it has replaced the token leaves that to the next.
 */
export function emptyAdminToken(directory: string): void {
  writeAdminToken(directory, '')
}

/** Also after a machine stopped before the text of a new file was on its disk. */
export function isAdminTokenEmpty(directory: string): boolean {
  return lstatSync(join(directory, ADMIN_TOKEN_FILE), { throwIfNoEntry: false })?.size === 0
}

/** Written whole or not at all, never through a link. */
export function writeAdminToken(directory: string, text: string): void {
  const path = join(directory, ADMIN_TOKEN_FILE)
  const temporary = `${path}.tmp`
  rmSync(temporary, { force: true, recursive: true })
  writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, path)
}

/** `undefined`: there is none. */
export function readAdminToken(directory: string): string | undefined {
  const path = join(directory, ADMIN_TOKEN_FILE)
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(path, 'utf8') : undefined
}

/** It opens nothing any more. */
export function removeAdminToken(directory: string): void {
  rmSync(join(directory, ADMIN_TOKEN_FILE), { force: true })
}

function checkDirectory(directory: string): void {
  const link = lstatSync(directory)
  const turned = link.isSymbolicLink() ? insecureLink(directory, link) : undefined
  if (turned !== undefined) refuse(turned)
  let found = statSync(directory)
  if (!found.isDirectory()) refuse(`${directory} is not a directory`)
  const own = process.getuid?.()
  // A new volume, or a directory that the operator has just made: nothing can have been planted in
  // it.
  if ((own === undefined || found.uid === own) && readdirSync(directory).length === 0) {
    chmodSync(directory, 0o700)
    if (readdirSync(directory).length === 0) found = statSync(directory)
  }
  const exposed = insecurePermissions(directory, found, '700')
  if (exposed !== undefined) refuse(exposed)
}

function checkFile(path: string): void {
  const exposed = insecureFile(path)
  if (exposed !== undefined) refuse(exposed)
}

/** Why others may read a file of ours. What is no file of ours is refused. */
function insecureFile(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return undefined
  if (!found.isFile()) refuse(`${path} is ${found.isSymbolicLink() ? 'a link' : 'no file'}; remove it`)
  if (found.nlink > 1) refuse(`${path} is a hard link, so the file has another name elsewhere; put a copy in its place`)
  const exposed = insecurePermissions(path, found, '600')
  if (exposed !== undefined && found.uid !== (process.getuid?.() ?? found.uid)) refuse(exposed)
  return exposed
}

function refuse(message: string): never {
  throw new OptionsError('startRegistry', [{ path: ['dataDir'], message }])
}
