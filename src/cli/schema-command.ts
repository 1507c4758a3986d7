/**
 * `inmesh schema`: the JSON Schema of policy documents, for editors. It is also how
 * `policy.schema.json` is made.
 */
import type { Command } from 'commander'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { type CliContext, Terminal } from './terminal.ts'

export function addSchemaCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('schema')
    .description('Print the JSON Schema of policy documents, for completion and checks in an editor.')
    .addOption(jsonOption())
  withExample(command, 'inmesh schema > policy.schema.json')
  command.action(async (flags: CommonFlags) => {
    const { policyJsonSchema } = await import('../discovery/policy-document.ts')
    const schema = policyJsonSchema()
    new Terminal(surroundings, flags.json === true).result(schema, () => [JSON.stringify(schema, null, 2)])
  })
}
