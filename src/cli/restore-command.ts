/** `inmesh restore`: checks a backup and puts it into an empty store, all of it or nothing. */
import type { Command } from 'commander'
import { withSecret } from './backup-secret.ts'
import { jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import type { RestoreFlags } from './run-restore.ts'
import { withStore } from './store-flags.ts'
import type { CliContext } from './terminal.ts'

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
  command.action(async (file: string, flags: RestoreFlags) =>
    (await import('./run-restore.ts')).runRestore(file, flags, surroundings),
  )
}
