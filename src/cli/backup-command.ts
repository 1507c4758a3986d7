/**
 * `inmesh backup`: the whole state of a mesh in one encrypted file, from a running registry or from
 * the data directory of a stopped one.
 */
import type { Command } from 'commander'
import { withSecret } from './backup-secret.ts'
import { withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import type { BackupFlags } from './run-backup.ts'
import { withStore } from './store-flags.ts'
import type { CliContext } from './terminal.ts'

export function addBackupCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('backup')
    .description('Write the whole state of the mesh to an encrypted file, or check such a file.')
    .option('--out <file>', 'the file to write, with mode 0600')
    .option('--verify <file>', 'check a backup instead: its encryption and each record')
    .option('--force', 'replace the file if it is there')
  withSecret(command)
  withStore(command, 'the etcd of registries that are all stopped')
  withConnection(command)
  withExample(
    command,
    'inmesh backup --out mesh.backup --key-file backup.key',
    'inmesh backup --out mesh.backup --key-file backup.key --data-dir /var/lib/inmesh',
    'inmesh backup --verify mesh.backup --key-file backup.key',
  )
  command.action(async (flags: BackupFlags) => (await import('./run-backup.ts')).runBackup(flags, surroundings))
}
