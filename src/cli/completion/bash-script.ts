/** A completion script for bash 3.2 and later, without the package bash-completion. */
import type { CompletedCommand, CompletedOption, OptionValue } from './command-tree.ts'

export function bashScript(tree: readonly CompletedCommand[]): string {
  return `# Completion of inmesh for bash: source <(inmesh completion bash)
_inmesh() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at="" i words=""
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
      ${alternatives(tree.filter(({ path }) => path.length > 0).map(({ path }) => quoted(` ${path.join(' ')}`)))}) at="$at \${COMP_WORDS[i]}" ;;
      ${alternatives(tree.flatMap((command) => command.options.filter(hasValue).flatMap((option) => patterns(command, option))))}) ((i++)) ;;
    esac
  done
  case "$at $prev" in
${tree.flatMap((command) => command.options.filter(hasValue).map((option) => valueCase(command, option))).join('\n')}
  esac
  case "$at" in
${tree.map(wordsCase).join('\n')}
  esac
  if [[ $cur != -* && -z $words ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  fi
}
complete -o filenames -o bashdefault -F _inmesh inmesh
`
}

function hasValue({ value }: CompletedOption): boolean {
  return value.kind !== 'none'
}

function patterns({ path }: CompletedCommand, { names }: CompletedOption): string[] {
  return names.map((name) => quoted([...path.map((step) => ` ${step}`), ` ${name}`].join('')))
}

function valueCase(command: CompletedCommand, option: CompletedOption): string {
  return `    ${alternatives(patterns(command, option))}) ${answer(option.value)}return ;;`
}

function answer(value: OptionValue): string {
  if (value.kind === 'choice') return `COMPREPLY=($(compgen -W ${quoted(value.choices.join(' '))} -- "$cur")); `
  return value.kind === 'path' ? 'COMPREPLY=($(compgen -f -- "$cur")); ' : ''
}

function wordsCase({ path, commands, options, choices }: CompletedCommand): string {
  const at = path.map((step) => ` ${step}`).join('')
  const flags = options.flatMap(({ names }) => names)
  const words = [...commands.map(({ name }) => name), ...choices].join(' ')
  return `    ${quoted(at)}) words=${quoted(words)}; [[ $cur == -* ]] && words=${quoted(flags.join(' '))} ;;`
}

function alternatives(all: readonly string[]): string {
  return all.join(' | ')
}

export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
