/** The example at the end of a command's help. */
import type { Command } from 'commander'

/** Every command has one; a test looks for it. */
export function withExample(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`)
}
