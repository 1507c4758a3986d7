/** Writes a backup, from a registry that runs or from a store whose registries are stopped. */
import { join } from 'node:path'
import { VERSION } from '../core/version.ts'
import type { BackupContents } from '../registry/backup/contents.ts'
import { BackupError } from '../registry/backup/error.ts'
import { exportState } from '../registry/backup/export-state.ts'
import type { BackupOrigin } from '../registry/backup/head.ts'
import { originOf, splitFirstLine } from '../registry/backup/lines.ts'
import { readBackup } from '../registry/backup/read-backup.ts'
import { linesOfStopped, readStoppedStore } from '../registry/backup/stopped-store.ts'
import { trustDomainOf } from '../registry/backup/trust-domain.ts'
import { type BackupSource, type WriteOptions, writeBackup } from '../registry/backup/write-backup.ts'
import { STORE_FILE } from '../registry/storage/data-directory.ts'
import type { Storage } from '../registry/storage/storage.ts'
import { readSecret, type SecretFlags } from './backup-secret.ts'
import { type ConnectionFlags, connect, refuseWith } from './connection.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'
import { openStore, type StoreFlags } from './store-flags.ts'
import { type CliContext, printable, Terminal } from './terminal.ts'
import { instant } from './times.ts'

export interface BackupFlags extends ConnectionFlags, SecretFlags, StoreFlags {
  readonly out?: string
  readonly verify?: string
  readonly force?: boolean
}

export async function runBackup(flags: BackupFlags, surroundings: CliContext): Promise<void> {
  const { out, verify } = flags
  if ((out === undefined) === (verify === undefined)) {
    throw invalidUsage('give --out FILE to write a backup, or --verify FILE to check one')
  }
  if (verify !== undefined) refuseForVerify(flags)
  if (flags.store !== undefined) refuseWith('--store', flags)
  if (out === '-') throw invalidUsage('--out: give a file; stdout cannot be checked')
  const terminal = new Terminal(surroundings, flags.json === true)
  const secret = await readSecret(flags, surroundings.env)
  if (verify !== undefined) {
    const contents = await readBackup(verify, secret)
    terminal.result({ file: verify, valid: true, ...summaryOf(contents) }, () => [
      `${verify}: valid`,
      ...linesOf(contents),
    ])
    return
  }
  const options = { path: out!, secret, replace: flags.force === true }
  const { contents, from } = await makeBackup(flags, surroundings, options)
  terminal.result({ file: out, from, ...summaryOf(contents) }, () => [
    `${out}: backup of ${from}`,
    ...linesOf(contents),
  ])
}

/** A check reads the file alone. */
function refuseForVerify(flags: BackupFlags): void {
  refuseWith('--verify', flags)
  const extra = flags.store !== undefined ? '--store' : flags.force === true ? '--force' : undefined
  if (extra === undefined) return
  throw invalidUsage(`--verify excludes ${extra}; give one of the two`)
}

interface MadeBackup {
  readonly contents: BackupContents
  readonly from: string
}

/** A data directory whose registry is stopped is read itself. */
async function makeBackup(flags: BackupFlags, surroundings: CliContext, options: WriteOptions): Promise<MadeBackup> {
  const opened = await openStore(flags)
  if (opened !== undefined) {
    const { storage, place } = opened
    try {
      return { contents: await writeBackup(await sharedSource(storage), options), from: place }
    } finally {
      await storage.close()
    }
  }
  const asked = flags.registry ?? surroundings.env.INMESH_REGISTRY
  // The variable is set for all commands; the flag means this one.
  if (flags.dataDir !== undefined && flags.registry === undefined) {
    const stopped = await stoppedSource(flags.dataDir)
    if (stopped !== undefined) return { contents: await writeBackup(stopped, options), from: flags.dataDir }
  }
  const { api } = await connect(surroundings, flags)
  try {
    const { first, rest } = await splitFirstLine(api.stream('/v1/backup', { format: 1 }))
    return { contents: await writeBackup({ origin: originOf(first), lines: rest }, options), from: api.url }
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== EXIT.unreachable || asked !== undefined) throw error
    const hint = flags.dataDir === undefined ? '--data-dir DIR if it is stopped' : '--registry URL of the one that runs'
    throw new Failure(error.exitCode, error.code, `${error.message}; give ${hint}`)
  }
}

/** `undefined`: a registry runs on it. */
async function stoppedSource(dataDir: string): Promise<BackupSource | undefined> {
  try {
    const store = await readStoppedStore(join(dataDir, STORE_FILE))
    return { origin: originHere(trustDomainOf(store.items) ?? null, 'sqlite'), lines: linesOfStopped(store) }
  } catch (error) {
    if (error instanceof BackupError && error.code === 'store-in-use') return undefined
    throw error
  }
}

/** What is below registries, read without one. */
export async function sharedSource(storage: Storage): Promise<BackupSource> {
  const { items } = await storage.list('')
  return { origin: originHere(trustDomainOf(items) ?? null, storage.status().engine), lines: exportState(storage) }
}

function originHere(trustDomain: string | null, engine: string): BackupOrigin {
  return { trustDomain, createdAt: Date.now(), version: VERSION, engine }
}

/** As `--json` prints it. */
export function summaryOf({ origin, epoch, revision, counts, sealKeyIds }: BackupContents): object {
  const { trustDomain, createdAt, version, engine } = origin
  return {
    trustDomain,
    createdAt: new Date(createdAt).toISOString(),
    version,
    engine,
    epoch,
    revision,
    ...counts,
    sealKeyIds,
  }
}

export function linesOf({ origin, revision, counts, sealKeyIds }: BackupContents): string[] {
  const { records, services, instances, policies, manifests, tokens, operators, denials, unreadableInstances } = counts
  const counted = `${services} services, ${instances} instances, ${policies} policies, ${tokens} join tokens`
  const lines = [
    `trust domain: ${origin.trustDomain ?? 'unknown, because its keys are sealed'}`,
    `made: ${instant(origin.createdAt)} by inmesh ${origin.version} from ${origin.engine}, revision ${revision}`,
    `${records} records: ${counted}, ${operators} operators, ${denials} denials`,
  ]
  if (manifests > 0) lines.push(`${manifests} of the records are Gateway API manifests`)
  if (unreadableInstances > 0) {
    lines.push(`${unreadableInstances} instances cannot be read; their processes register again`)
  }
  if (sealKeyIds.length > 0) {
    lines.push(`its private keys are sealed: a registry on it needs the seal key ${sealKeyIds.join(' and ')}`)
  }
  return lines.map((line) => `  ${printable(line)}`)
}
