/** `inmesh completion`: a script that completes commands and flags in a shell. */
import { Argument, type Command } from 'commander'
import { type CommonFlags, jsonOption } from '../connection.ts'
import { withExample } from '../examples.ts'
import { type CliContext, Terminal } from '../terminal.ts'
import { bashScript } from './bash-script.ts'
import { type CompletedCommand, commandTree } from './command-tree.ts'
import { fishScript } from './fish-script.ts'
import { zshScript } from './zsh-script.ts'

const SCRIPTS: Readonly<Record<string, (tree: readonly CompletedCommand[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

export function addCompletionCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('completion')
    .description('Print a script that completes commands and flags in bash, zsh or fish.')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .addOption(jsonOption())
  withExample(
    command,
    'inmesh completion bash > ~/.local/share/bash-completion/completions/inmesh',
    'source <(inmesh completion zsh)',
    'inmesh completion fish > ~/.config/fish/completions/inmesh.fish',
  )
  command.action((shell: string, flags: CommonFlags) => {
    const script = SCRIPTS[shell]!(commandTree(program))
    new Terminal(surroundings, flags.json === true).result({ shell, script }, () => [script.trimEnd()])
  })
}
