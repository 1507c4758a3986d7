/** `inmesh convert`: what manifests mean, in the words of our documents. */
import type { Command } from 'commander'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { readPolicyFile } from './read-policy-file.ts'
import { type CliContext, Terminal } from './terminal.ts'

interface ConvertFlags extends CommonFlags {
  readonly file: string
}

export function addConvertCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('convert')
    .description('Print what the Gateway API manifests of a file mean, as documents that `apply` takes.')
    .requiredOption('-f, --file <file>', "YAML or JSON; '-' reads standard input; documents in it are kept")
    .addOption(jsonOption())
  withExample(command, 'inmesh convert -f route.yaml', 'inmesh convert -f route.yaml | inmesh check -f -')
  command.action(async (flags: ConvertFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const { documents } = await readPolicyFile(flags.file, surroundings.stdin)
    const { documentsOf, namesForGateways, yamlOf } = await import('./convert-documents.ts')
    const converted = documentsOf(documents)
    terminal.result({ documents: converted }, () => (converted.length === 0 ? [] : [yamlOf(converted)]))
    for (const name of namesForGateways(documents)) {
      terminal.note(`${name} is for Gateways: none of its parentRefs is a Service`)
    }
  })
}
