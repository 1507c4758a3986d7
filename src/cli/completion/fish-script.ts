/** A completion script for fish, for `~/.config/fish/completions/inmesh.fish`. */
import type { CompletedCommand, CompletedOption } from './command-tree.ts'

export function fishScript(tree: readonly CompletedCommand[]): string {
  const below = tree.filter(({ path }) => path.length > 0)
  const valued = tree.flatMap((command) =>
    command.options
      .filter(({ value }) => value.kind !== 'none')
      .flatMap(({ names }) => names.map((name) => quoted(`${at(command)} ${name}`))),
  )
  return `# Completion of inmesh for fish: inmesh completion fish | source
function __inmesh_at
  set -l at ""
  set -l skip 0
  for word in (commandline -opc)[2..]
    if test $skip = 1
      set skip 0
      continue
    end
    switch "$at $word"
      case ${below.map((command) => quoted(at(command))).join(' ')}
        set at "$at $word"
      case ${valued.join(' ')}
        set skip 1
    end
  end
  test "$at" = "$argv[1]"
end
${tree.flatMap(linesOf).join('\n')}
`
}

function at({ path }: CompletedCommand): string {
  return path.map((step) => ` ${step}`).join('')
}

function linesOf(command: CompletedCommand): string[] {
  const when = `complete -c inmesh -n ${quoted(`__inmesh_at ${quoted(at(command))}`)}`
  return [
    ...(command.commands.length + command.choices.length > 0 ? [`${when} -f`] : []),
    ...command.commands.map(({ name, description }) => `${when} -a ${quoted(name)} -d ${quoted(description)}`),
    ...command.choices.map((one) => `${when} -a ${quoted(one)}`),
    ...command.options.map((option) => `${when} ${flagsOf(option)}`),
  ]
}

function flagsOf({ names, value, description }: CompletedOption): string {
  const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  const asked = {
    none: '',
    text: ' -x',
    path: ' -r -F',
    choice: value.kind === 'choice' ? ` -x -a ${quoted(value.choices.join(' '))}` : '',
  }[value.kind]
  return `${flags.join(' ')}${asked} -d ${quoted(description)}`
}

/** fish knows two escapes within single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
