/** The commands as commander knows them, for scripts that complete them in a shell. */
import type { Command, Option } from 'commander'

export interface CompletedOption {
  /** `-f`, `--file` */
  readonly names: readonly string[]
  readonly description: string
  readonly value: OptionValue
}

/** What follows an option: nothing, one of a few words, a path, or any text. */
export type OptionValue =
  | { readonly kind: 'none' | 'path' | 'text' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }

export interface CompletedCommand {
  /** Names from below `inmesh` on; empty: itself. */
  readonly path: readonly string[]
  readonly commands: readonly { readonly name: string; readonly description: string }[]
  readonly options: readonly CompletedOption[]
  /** Of its first argument. */
  readonly choices: readonly string[]
}

/** Of every command, in the order of the help. */
export function commandTree(program: Command): readonly CompletedCommand[] {
  const found: CompletedCommand[] = []
  const walk = (command: Command, path: readonly string[]): void => {
    const help = command.createHelp()
    const commands = help.visibleCommands(command)
    found.push({
      path,
      commands: commands.map((one) => ({ name: one.name(), description: firstSentence(one.description()) })),
      options: help.visibleOptions(command).map(completed),
      choices: command.registeredArguments[0]?.argChoices ?? [],
    })
    for (const one of commands) if (one.name() !== 'help') walk(one, [...path, one.name()])
  }
  walk(program, [])
  return found
}

const PATHS = /<(?:file|dir|path|chain|csr)(?:\.\.\.)?>/

function completed(option: Option): CompletedOption {
  const { short, long, description, flags, required, optional, argChoices } = option
  const names = [short, long].filter((name) => name !== undefined && name !== null)
  const kind = required || optional ? (PATHS.test(flags) ? 'path' : 'text') : 'none'
  const value: OptionValue = argChoices === undefined ? { kind } : { kind: 'choice', choices: argChoices }
  return { names, description: firstSentence(description), value }
}

/** A menu has one line for each. */
function firstSentence(text: string): string {
  return (/^.*?(?=\.\s|\n|$)/s.exec(text)?.[0] ?? text).replace(/\.$/, '')
}
