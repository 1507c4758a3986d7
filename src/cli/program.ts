/** Assembles the `inmesh` command, and turns any failure into one message and an exit code. */
import { Command, CommanderError } from 'commander'
import { VERSION } from '../core/version.ts'
import { didYouMean } from '../options/nearest.ts'
import { addApplyCommand } from './apply-command.ts'
import { addAuditCommand } from './audit-command.ts'
import { addBackupCommand } from './backup-command.ts'
import { addCaCommands } from './ca-commands.ts'
import { addCallCommand } from './call/call-command.ts'
import { addCheckCommand } from './check-command.ts'
import { addCompletionCommand } from './completion/completion-command.ts'
import { addConvertCommand } from './convert-command.ts'
import { addDecodeCommand } from './decode-command.ts'
import { addDenyCommands } from './deny-commands.ts'
import { addDevCommand } from './dev/dev-command.ts'
import { addDiffCommand } from './diff-command.ts'
import { addDoctorCommand } from './doctor/doctor-command.ts'
import { withExample } from './examples.ts'
import { addExplainCommand } from './explain-command.ts'
import { asFailure, EXIT, invalidUsage } from './failure.ts'
import { refuseRepeated } from './flag-values.ts'
import { addReleaseCommand } from './instance-commands.ts'
import { addInventoryCommands } from './inventory-commands.ts'
import { addPolicyCommands } from './policy-commands.ts'
import { addProxyCommand } from './proxy/proxy-command.ts'
import { addRegistryCommand } from './registry-command.ts'
import { addRestoreCommand } from './restore-command.ts'
import { addRunCommand } from './run-command.ts'
import { addSchemaCommand } from './schema-command.ts'
import { addSimulateCommand } from './simulate-command.ts'
import { addStatusCommand } from './status-command.ts'
import { addTapCommand } from './tap/tap-command.ts'
import { type CliContext, Terminal } from './terminal.ts'
import { addTokenCommands } from './token-commands.ts'
import { addEdgesCommand } from './traffic/edges-command.ts'
import { addGraphCommand } from './traffic/graph-command.ts'
import { addRoutesCommand } from './traffic/routes-command.ts'
import { addStatCommand } from './traffic/stat-command.ts'
import { addTopCommand } from './traffic/top-command.ts'
import { addWeightCommands } from './weight-commands.ts'

const EXIT_CODES = `
Exit codes: 0 done; 1 refused or failed; 2 wrong usage or a mistake in a file, nothing was changed; 3 no answer from the registry; 4 and 5 see \`inmesh call --help\`.`

/** The whole command; `--help` of any part shows an example. */
export function buildProgram(surroundings: CliContext): Command {
  const program = new Command('inmesh')
    .description('Runs and commands the registry of an inmesh mesh: who runs where, policies, join tokens.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => surroundings.stdout.write(text),
      writeErr: (text) => surroundings.stderr.write(text),
      // runCli prints it in the requested format.
      outputError: () => {},
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
  withExample(program, 'inmesh registry --dev', 'inmesh apply -f policies.yaml').addHelpText('after', EXIT_CODES)
  addRegistryCommand(program, surroundings)
  addRunCommand(program, surroundings)
  addTokenCommands(program, surroundings)
  addCheckCommand(program, surroundings)
  addSchemaCommand(program, surroundings)
  addDecodeCommand(program, surroundings)
  addConvertCommand(program, surroundings)
  addSimulateCommand(program, surroundings)
  addApplyCommand(program, surroundings)
  addDiffCommand(program, surroundings)
  addPolicyCommands(program, surroundings)
  addWeightCommands(program, surroundings)
  addDevCommand(program, surroundings)
  addCallCommand(program, surroundings)
  addProxyCommand(program, surroundings)
  addDoctorCommand(program, surroundings)
  addExplainCommand(program, surroundings)
  addInventoryCommands(program, surroundings)
  addTopCommand(program, surroundings)
  addStatCommand(program, surroundings)
  addEdgesCommand(program, surroundings)
  addRoutesCommand(program, surroundings)
  addGraphCommand(program, surroundings)
  addTapCommand(program, surroundings)
  addReleaseCommand(program, surroundings)
  addDenyCommands(program, surroundings)
  addStatusCommand(program, surroundings)
  addAuditCommand(program, surroundings)
  addCaCommands(program, surroundings)
  addBackupCommand(program, surroundings)
  addRestoreCommand(program, surroundings)
  addCompletionCommand(program, surroundings)
  refuseRepeated(program)
  return program
}

/**
 * Runs one command and resolves with the exit code; never rejects.
 *
 * @param args - without the names of node and the script
 */
export async function runCli(args: readonly string[], surroundings: CliContext): Promise<number> {
  const program = buildProgram(surroundings)
  try {
    await program.parseAsync(args as string[], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    const end = args.indexOf('--')
    const json = (end < 0 ? args : args.slice(0, end)).includes('--json')
    const terminal = new Terminal(surroundings, json)
    if (!(error instanceof CommanderError)) {
      const failure = asFailure(error)
      terminal.fail(failure)
      return failure.exitCode
    }
    if (error.exitCode === 0) return EXIT.ok
    // A group without its command, such as `inmesh token`: its help was printed.
    if (error.code === 'commander.help') return EXIT.invalid
    const hint = error.code === 'commander.excessArguments' ? mistyped(program, args) : ''
    const message = error.message.replace(/^error: /, '')
    terminal.fail(invalidUsage(hint === '' ? message : message.replace(/\.?$/, hint)))
    return EXIT.invalid
  }
}

/**
 * `inmesh instances disabel …`: a command with subcommands takes a mistyped one for an argument.
 */
function mistyped(program: Command, args: readonly string[]): string {
  const [name, given = ''] = args.filter((arg) => !arg.startsWith('-'))
  const names = program.commands.find((command) => command.name() === name)?.commands.map((one) => one.name()) ?? []
  return didYouMean(given, names)
}
