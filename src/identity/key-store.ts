/**
 * Keeps keys, certificates and snapshots across restarts, in a private directory or in memory.
 * Damaged files are ignored; files that others can read are refused.
 */
import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { access, lstat, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { OptionsError } from '../options/fields.ts'
import type { Identity } from './identity.ts'
import { isUnderRoot, makeIdentity } from './identity-check.ts'
import { makePrivateDirectory } from './private-directory.ts'
import { insecureLink, insecurePermissions } from './private-files.ts'
import { bundleOf, type OlderBundle } from './trust-bundle.ts'

export interface KeyStoreOptions {
  /** Made with 0700 if it is not there. `undefined`: everything is kept in memory only. */
  readonly directory: string | undefined
  readonly clock: Clock
}

const FORMAT = 1
const STATE_NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/
const TEMPORARY = /^\.[a-z0-9._-]+\.tmp$/
/** A file left behind by a process that died while writing; younger ones may still be written. */
const STALE_MS = 600_000
/** A snapshot of 10,000 endpoints has about 4 MB. */
const LONGEST_FILE = 64 * 1024 * 1024
/** No link is followed, and a FIFO is not waited for. Windows has neither flag. */
const READ_OWN_FILE = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

export class KeyStore {
  readonly directory: string | undefined
  /** Files that were there and could not be used. */
  ignored = 0
  readonly #clock: Clock
  readonly #memory = new Map<string, Buffer>()
  /** Writes run one after another, so that the last one asked for is the one that stays. */
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(options: KeyStoreOptions) {
    this.directory = options.directory
    this.#clock = options.clock
  }

  /**
   * @throws UnusableDirectory if the directory cannot be made or written
   * @throws OptionsError if others can read it
   */
  static async open(options: KeyStoreOptions): Promise<KeyStore> {
    if (options.directory !== undefined) await prepareDirectory(options.directory)
    return new KeyStore(options)
  }

  /**
   * The stored identity of `service`, checked as if a stranger had given it, as generation 1. With
   * `fingerprint`, only if one of its roots has it, or had it before the registry replaced that
   * root. Throws an `OptionsError` if others can read the file.
   */
  async loadIdentity(service: string, fingerprint?: string): Promise<Identity | undefined> {
    const bytes = await this.readState(identityFile(service))
    if (bytes === undefined) return undefined
    try {
      const stored = JSON.parse(bytes.toString('utf8')) as Record<string, unknown> | null
      if (stored?.format !== FORMAT) throw new Error('another format')
      const { privateKey, certificate, formerRoots } = stored as unknown as Identity
      const parts = { service, privateKey, certificate, formerRoots, ...bundleOf(stored as unknown as OlderBundle) }
      const identity = makeIdentity(parts, 1, this.#clock)
      if (fingerprint === undefined || isUnderRoot(identity, fingerprint)) return identity
    } catch {
      // Damaged, expired or foreign: as if it were not there.
    }
    this.ignored += 1
    return undefined
  }

  async saveIdentity(identity: Identity): Promise<void> {
    const { service, privateKey, certificate, formerRoots } = identity
    const text = JSON.stringify({ format: FORMAT, privateKey, certificate, formerRoots, ...bundleOf(identity) })
    await this.writeState(identityFile(service), Buffer.from(text))
  }

  /** What was last written under `name`; `undefined` if nothing was or it cannot be read. */
  async readState(name: string): Promise<Buffer | undefined> {
    checkName(name)
    if (this.directory === undefined) return this.#memory.get(name)
    const path = join(this.directory, name)
    try {
      const file = await open(path, READ_OWN_FILE)
      try {
        const found = await file.stat()
        if (!found.isFile() || found.nlink > 1 || found.size > LONGEST_FILE) throw new Error('no file that we wrote')
        refuseOthers(path, found, '600')
        return await file.readFile()
      } finally {
        await file.close()
      }
    } catch (error) {
      if (error instanceof OptionsError) throw error
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.ignored += 1
      return undefined
    }
  }

  /** Written whole or not at all. Rejects with the file system's error. */
  writeState(name: string, bytes: Uint8Array): Promise<void> {
    checkName(name)
    const { directory } = this
    if (directory === undefined) {
      this.#memory.set(name, Buffer.from(bytes))
      return Promise.resolve()
    }
    const written = this.#writing.then(() => writeWhole(directory, name, bytes))
    this.#writing = written.catch(() => {})
    return written
  }

  async removeState(name: string): Promise<void> {
    checkName(name)
    this.#memory.delete(name)
    const { directory } = this
    if (directory === undefined) return
    const removed = this.#writing.then(async () => {
      await unlink(join(directory, name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
    })
    this.#writing = removed.catch(() => {})
    await removed
  }
}

/** One file, so that key and certificate can never be of two generations. */
function identityFile(service: string): string {
  return `identity-${service}.json`
}

function checkName(name: string): void {
  if (!STATE_NAME.test(name)) {
    const message = `expected lower-case letters, digits, '.', '-', '_', got ${JSON.stringify(name)}`
    throw new OptionsError('state', [{ path: ['name'], message }])
  }
}

/** It cannot be made, read or written, such as on a read-only file system. */
export class UnusableDirectory extends OptionsError {
  constructor(directory: string, reason: string) {
    const message = `${directory} cannot be used (${reason}); ${INSTEAD}`
    super('joinMesh', [{ path: ['stateDir'], message }])
  }
}

/** What to do about a state directory. */
export const INSTEAD =
  "give a writable directory by the option stateDir or the variable INMESH_STATE_DIR, or 'memory' to keep nothing"

function refuse(message: string): never {
  throw new OptionsError('joinMesh', [{ path: ['stateDir'], message }])
}

function refuseOthers(path: string, found: Stats, mode: '600' | '700'): void {
  const exposed = insecurePermissions(path, found, mode)
  if (exposed !== undefined) refuse(exposed)
}

async function prepareDirectory(directory: string): Promise<void> {
  try {
    makePrivateDirectory(directory)
    const link = await lstat(directory)
    const turned = link.isSymbolicLink() ? insecureLink(directory, link) : undefined
    if (turned !== undefined) refuse(turned)
    const found = await stat(directory)
    if (!found.isDirectory()) throw new UnusableDirectory(directory, 'it is no directory')
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    refuseOthers(directory, found, '700')
    await removeStale(directory)
  } catch (error) {
    if (error instanceof OptionsError) throw error
    throw new UnusableDirectory(directory, (error as Error).message)
  }
}

async function removeStale(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!TEMPORARY.test(name)) continue
    const path = join(directory, name)
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined && Date.now() - found.mtimeMs > STALE_MS) await unlink(path).catch(() => {})
  }
}

async function writeWhole(directory: string, name: string, bytes: Uint8Array): Promise<void> {
  const path = join(directory, name)
  const temporary = join(directory, `.${name}.${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', 0o600)
  try {
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  }
  await syncDirectory(dirname(path))
}

/**
 * The renaming itself survives a power cut only then; where directories cannot be opened, that is
 * all there is.
 */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY).catch(() => undefined)
  if (handle === undefined) return
  try {
    await handle.sync()
  } catch {
    // Some file systems refuse it.
  } finally {
    await handle.close()
  }
}
