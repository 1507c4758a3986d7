/** `inmesh registry`: runs a registry until it is told to stop. */
import { type Command, Option } from 'commander'
import { duration, integer } from '../core/fields.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { withExample } from './examples.ts'
import { numeric, parsed } from './flag-values.ts'
import { type Surroundings, Terminal } from './terminal.ts'

export interface RegistryFlags extends CommonFlags {
  readonly address?: string
  readonly port?: number
  readonly dataDir?: string
  readonly memory?: boolean
  readonly dev?: boolean
  readonly trustDomain?: string
  readonly lease?: number
  readonly certificateLife?: number
  readonly logLevel: string
}

export function addRegistryCommand(program: Command, surroundings: Surroundings): void {
  program
    .command('registry')
    .addOption(new Option('--log-level <level>').choices(['silent', 'error', 'warn', 'info']).default('warn'))
    .addOption(jsonOption())
    .option('--lease <duration>', 'x', parsed(duration(), numeric))
    .option('--port <n>', 'x', parsed(integer({ min: 0, max: 1 }), numeric))
    .action((flags: RegistryFlags) => {
      new Terminal(surroundings, flags.json === true).result({}, () => [])
    })
  withExample(program, '')
}
