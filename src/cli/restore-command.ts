/** `inmesh restore`: checks a backup and puts it into an empty store, all of it or nothing. */
import type { Command } from 'commander'
import type { BackupContents } from '../registry/backup/contents.ts'
import { readBackup } from '../registry/backup/read-backup.ts'
import { type EmbeddedRestore, restoreEmbedded } from '../registry/backup/restore-embedded.ts'
import { restoreShared } from '../registry/backup/restore-shared.ts'
import type { BackupSecret } from '../registry/backup/secret.ts'
import { writeBackup } from '../registry/backup/write-backup.ts'
import { linesOf, sharedSource, summaryOf } from './backup-command.ts'
import { readSecret, type SecretFlags, withSecret } from './backup-secret.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { defaultDataDirectory } from './data-directory.ts'
import { withExample } from './examples.ts'
import { invalidUsage } from './failure.ts'
import { openStore, type StoreFlags, withStore } from './store-flags.ts'
import { type CliContext, Terminal } from './terminal.ts'

interface RestoreFlags extends CommonFlags, SecretFlags, StoreFlags {
  readonly dataDir?: string
  readonly force?: boolean
  readonly dryRun?: boolean
}

type Restored = Partial<EmbeddedRestore> & { readonly to: string }

const NO_ADMIN_TOKEN =
  "the admin token and the operators' tokens of the backup are valid; an empty file admin-token in the directory " +
  'makes the next start write another one'

export function addRestoreCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('restore')
    .description('Check a backup whole, then put it into the store of registries that are stopped.')
    .argument('<file>', 'from `inmesh backup`')
    .option('--data-dir <dir>', 'where to (default: ~/.local/state/inmesh-registry)')
    .option('--force', 'replace a store that is there, which is kept beside')
    .option('--dry-run', 'check the backup and the place, and change nothing')
    .addOption(jsonOption())
  withStore(command, 'an etcd instead of a directory')
  withSecret(command)
  withExample(
    command,
    'inmesh restore mesh.backup --key-file backup.key --data-dir /var/lib/inmesh',
    'inmesh restore mesh.backup --key-file backup.key --store etcd://10.0.0.1:2379,10.0.0.2:2379',
  )
  command.action(async (file: string, flags: RestoreFlags) => {
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
  })
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
