/** `inmesh diff`: what `apply` would change, value by value. */
import type { Command } from 'commander'
import { sendDocuments } from './apply-command.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { differences, formatDifference } from './differences.ts'
import { withExample } from './examples.ts'
import { readPolicyFile } from './read-policy-file.ts'
import { type CliContext, printable } from './terminal.ts'

interface DiffFlags extends ConnectionFlags {
  readonly file: string
}

const COLOURS = { '+': 'green', '-': 'red', '~': 'yellow' } as const

export function addDiffCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('diff')
    .description('Show what applying a file would change, and change nothing.')
    .requiredOption('-f, --file <file>', "YAML or JSON, one or more documents; '-' reads standard input")
  withConnection(command)
  withExample(command, 'inmesh diff -f policies.yaml')
  command.action(async (flags: DiffFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const file = await readPolicyFile(flags.file, surroundings.stdin)
    const { changes, warnings } = await sendDocuments(api, file, true)
    terminal.warn(warnings)
    const services = changes.map(({ service, change, before, after }) => ({
      service,
      change,
      differences: differences(before, after),
    }))
    const differs = services.some(({ change }) => change !== 'unchanged')
    terminal.result({ differs, services, warnings }, () => {
      if (!differs) return ['no differences']
      return services
        .filter(({ change }) => change !== 'unchanged')
        .flatMap((entry) => [
          `${entry.service}: ${entry.change}`,
          ...entry.differences.map((one) => `  ${terminal.paint(COLOURS[one.sign], printable(formatDifference(one)))}`),
        ])
    })
  })
}
