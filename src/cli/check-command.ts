/** `inmesh check`: is a file valid? Needs no registry, so it fits into a commit hook. */
import type { Command } from 'commander'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { readPolicyFile } from './read-policy-file.ts'
import { type CliContext, Terminal } from './terminal.ts'

interface CheckFlags extends CommonFlags {
  readonly file: string
}

export function addCheckCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('check')
    .description('Check a file of policy documents without a registry: every mistake with its line.')
    .requiredOption('-f, --file <file>', "YAML or JSON, one or more documents; '-' reads standard input")
    .addOption(jsonOption())
  withExample(command, 'inmesh check -f policies.yaml')
  command.action(async (flags: CheckFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const { documents } = await readPolicyFile(flags.file, surroundings.stdin)
    const { nameOfDocument } = await import('./check-documents.ts')
    const services = documents.map(nameOfDocument)
    terminal.result({ valid: true, file: flags.file, services }, () => [
      `${flags.file}: valid, ${services.length} ${services.length === 1 ? 'document' : 'documents'}: ${services.join(', ')}`,
    ])
  })
}
