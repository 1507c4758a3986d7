/** A completion script for zsh, for a file `_inmesh` in `$fpath` or for `source`. */
import { quoted } from './bash-script.ts'
import type { CompletedCommand, CompletedOption } from './command-tree.ts'

export function zshScript(tree: readonly CompletedCommand[]): string {
  const below = tree.filter(({ path }) => path.length > 0)
  const valued = tree.flatMap((command) =>
    command.options.filter(({ value }) => value.kind !== 'none').map((option) => ({ command, option })),
  )
  return `#compdef inmesh
# Completion of inmesh for zsh: source <(inmesh completion zsh)
_inmesh() {
  local at="" i prev=\${words[CURRENT-1]}
  local -a offered
  for ((i = 2; i < CURRENT; i++)); do
    case "$at \${words[i]}" in
      ${below.map(({ path }) => quoted(` ${path.join(' ')}`)).join(' | ')}) at="$at \${words[i]}" ;;
      ${valued.flatMap(({ command, option }) => patterns(command, option)).join(' | ')}) ((i++)) ;;
    esac
  done
  case "$at $prev" in
${valued.map(({ command, option }) => `    ${patterns(command, option).join(' | ')}) ${answer(option)}; return ;;`).join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    case "$at" in
${tree.map((command) => `      ${quoted(at(command))}) offered=(${command.options.flatMap(described).join(' ')}) ;;`).join('\n')}
    esac
    _describe -o option offered
    return
  fi
  case "$at" in
${tree.map((command) => `    ${quoted(at(command))}) offered=(${command.commands.map(({ name, description }) => item(name, description)).join(' ')}${command.choices.map((one) => ` ${quoted(one)}`).join('')}) ;;`).join('\n')}
  esac
  if ((\${#offered})); then _describe command offered; else _files; fi
}
if [[ \${funcstack[1]} == _inmesh ]]; then _inmesh "$@"; else compdef _inmesh inmesh; fi
`
}

function at({ path }: CompletedCommand): string {
  return path.map((step) => ` ${step}`).join('')
}

function patterns(command: CompletedCommand, { names }: CompletedOption): string[] {
  return names.map((name) => quoted(`${at(command)} ${name}`))
}

function answer({ value }: CompletedOption): string {
  if (value.kind === 'choice') return `compadd -- ${value.choices.map(quoted).join(' ')}`
  return value.kind === 'path' ? '_files' : '_message value'
}

function described({ names, description }: CompletedOption): string[] {
  return names.map((name) => item(name, description))
}

/** A colon ends the name. */
function item(name: string, description: string): string {
  return quoted(`${name.replaceAll(':', '\\:')}:${description}`)
}
