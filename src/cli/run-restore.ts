/** Puts a checked backup into a store, all of it or nothing. */
import type { BackupContents } from '../registry/backup/contents.ts'
import { readBackup } from '../registry/backup/read-backup.ts'
import { type EmbeddedRestore, restoreEmbedded } from '../registry/backup/restore-embedded.ts'
import { restoreShared } from '../registry/backup/restore-shared.ts'
import type { BackupSecret } from '../registry/backup/secret.ts'
import { writeBackup } from '../registry/backup/write-backup.ts'
import { readSecret, type SecretFlags } from './backup-secret.ts'
import type { CommonFlags } from './connection.ts'
import { defaultDataDirectory } from './data-directory.ts'
import { invalidUsage } from './failure.ts'
import { linesOf, sharedSource, summaryOf } from './run-backup.ts'
import { openStore, type StoreFlags } from './store-flags.ts'
import { type CliContext, Terminal } from './terminal.ts'

export interface RestoreFlags extends CommonFlags, SecretFlags, StoreFlags {
  readonly dataDir?: string
  readonly force?: boolean
  readonly dryRun?: boolean
}

type Restored = Partial<EmbeddedRestore> & { readonly to: string }

const NO_ADMIN_TOKEN =
  "the admin token and the operators' tokens of the backup are valid; an empty file admin-token in the directory " +
  'makes the next start write another one'

export async function runRestore(file: string, flags: RestoreFlags, surroundings: CliContext): Promise<void> {
  if (flags.store !== undefined && flags.dataDir !== undefined) {
    throw invalidUsage('give --data-dir or --store, not both')
  }
  const terminal = new Terminal(surroundings, flags.json === true)
  const secret = await readSecret(flags, surroundings.env)
  const contents = await readBackup(file, secret)
  const dryRun = flags.dryRun === true
  const { to, movedTo, hasAdminToken } =
    (await intoStore(file, contents, secret, flags)) ?? (await intoDirectory(contents, flags, surroundings))
  const result = { file, restored: !dryRun, to, ...(movedTo && { movedTo }), hasAdminToken }
  terminal.result({ ...result, ...summaryOf(contents) }, () => [
    dryRun ? `${file}: can be restored into ${to}` : `${file}: restored into ${to}`,
    ...linesOf(contents),
    ...(movedTo === undefined ? [] : [`  the former state is in ${movedTo}`]),
  ])
  if (hasAdminToken === false) terminal.note(NO_ADMIN_TOKEN)
}

async function intoDirectory(contents: BackupContents, flags: RestoreFlags, { env }: CliContext): Promise<Restored> {
  const dataDir = flags.dataDir ?? defaultDataDirectory(env, false)
  const options = { dataDir, replace: flags.force === true, dryRun: flags.dryRun === true }
  return { to: dataDir, ...(await restoreEmbedded(contents, options)) }
}

/**
 * `undefined`: no flag names a store. The former state is kept as a backup with the same secret.
 */
async function intoStore(
  file: string,
  contents: BackupContents,
  secret: BackupSecret,
  flags: RestoreFlags,
): Promise<Restored | undefined> {
  const opened = await openStore(flags)
  if (opened === undefined) return undefined
  const { storage, place } = opened
  try {
    const movedTo = await restoreShared(storage, contents, {
      place,
      replace: flags.force === true,
      dryRun: flags.dryRun === true,
      save: async () => {
        const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
        const path = `${file}.before-restore-${time}`
        await writeBackup(await sharedSource(storage), { path, secret, replace: false })
        return path
      },
    })
    return { to: place, ...(movedTo !== undefined && { movedTo }) }
  } finally {
    await storage.close()
  }
}
