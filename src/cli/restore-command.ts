/** `inmesh restore`: checks a backup and puts it into an empty store, all of it or nothing. */
import type { Command } from 'commander'
import { readBackup } from '../registry/backup/read-backup.ts'
import { restoreEmbedded } from '../registry/backup/restore-embedded.ts'
import { linesOf, summaryOf } from './backup-command.ts'
import { readSecret, type SecretFlags, withSecret } from './backup-secret.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { defaultDataDirectory } from './data-directory.ts'
import { withExample } from './examples.ts'
import { type CliContext, Terminal } from './terminal.ts'

interface RestoreFlags extends CommonFlags, SecretFlags {
  readonly dataDir?: string
  readonly force?: boolean
  readonly dryRun?: boolean
}

const NO_ADMIN_TOKEN =
  "the admin token and the operators' tokens of the backup are valid; no file admin-token has one of them"

export function addRestoreCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('restore')
    .description('Check a backup whole, then put it into the data directory of a stopped registry.')
    .argument('<file>', 'from `inmesh backup`')
    .option('--data-dir <dir>', 'where to (default: ~/.local/state/inmesh-registry)')
    .option('--force', 'move aside a store that is there')
    .option('--dry-run', 'check the backup and the directory, and change nothing')
    .addOption(jsonOption())
  withSecret(command)
  withExample(command, 'inmesh restore mesh.backup --key-file backup.key --data-dir /var/lib/inmesh')
  command.action(async (file: string, flags: RestoreFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const contents = await readBackup(file, await readSecret(flags, surroundings.env))
    const dataDir = flags.dataDir ?? defaultDataDirectory(surroundings.env, false)
    const dryRun = flags.dryRun === true
    const { movedTo, hasAdminToken } = await restoreEmbedded(contents, {
      dataDir,
      replace: flags.force === true,
      dryRun,
    })
    const result = { file, restored: !dryRun, to: dataDir, ...(movedTo && { movedTo }), hasAdminToken }
    terminal.result({ ...result, ...summaryOf(contents) }, () => [
      dryRun ? `${file}: can be restored into ${dataDir}` : `${file}: restored into ${dataDir}`,
      ...linesOf(contents),
      ...(movedTo === undefined ? [] : [`  the former store is in ${movedTo}`]),
    ])
    if (!hasAdminToken) terminal.note(NO_ADMIN_TOKEN)
  })
}
