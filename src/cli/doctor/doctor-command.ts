/** `inmesh doctor`: what works for a workload, from its machine and with its variables. */
import type { Command } from 'commander'
import { serviceName } from '../../options/names.ts'
import { withConnection } from '../connection.ts'
import { withExample } from '../examples.ts'
import { collected, parsed } from '../flag-values.ts'
import type { CliContext } from '../terminal.ts'
import { readDependency } from './dependencies.ts'
import type { Dependency } from './mesh-checks.ts'
import type { DoctorFlags } from './run-doctor.ts'

const addDependency = collected((text: string, before: readonly Dependency[] = []): readonly Dependency[] => [
  ...before,
  readDependency(text),
])

export function addDoctorCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('doctor')
    .description('Check from the machine of a workload, with its INMESH_* variables, what works; say what to do.')
    .option('--service <name>', 'who the workload is (INMESH_SERVICE)', parsed(serviceName()))
    .option(
      '--to <service>',
      "a service that it calls, or 'http://inventory/items/42', 'POST http://…', 'grpc://…', 'tcp://redis'; may be repeated (default: those that the registry knows of)",
      addDependency,
    )
    .option('--join', 'join with the join token, although that takes one of its uses')
  withConnection(command)
  withExample(command, 'inmesh doctor', 'INMESH_SERVICE=checkout inmesh doctor --to inventory --to tcp://redis --json')
  command.action(async (flags: DoctorFlags) => (await import('./run-doctor.ts')).runDoctor(flags, surroundings))
}
