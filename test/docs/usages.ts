/** Uses of the `inmesh` command in shell text, and what is wrong with one, without running it. */
import { type Command, CommanderError } from 'commander'
import { buildProgram } from '../../src/cli/program.ts'

export interface Usage {
  readonly args: readonly string[]
  /** From the beginning of the text. */
  readonly line: number
}

const END = /^(?:[|&;()]+|[<>].*)$/
/** Words before a command that run it. */
const BEFORE = /^(?:exec|npx|--yes|-y|time|timeout|then|do|until|while|if|!|\w+=.*)$/

/** A shell that knows words, quotes, comments, continued lines and `$(…)`. */
export function usagesIn(text: string): readonly Usage[] {
  const joined = text.replace(/\\\n/g, '\u0000')
  return joined.split('\n').flatMap((line, index, all) => {
    const continued = all.slice(0, index).join('').split('\u0000').length - 1
    return commandsOf(line.replaceAll('\u0000', ' ')).map((args) => ({ args, line: index + continued }))
  })
}

function commandsOf(line: string): readonly string[][] {
  const found: string[][] = []
  let words: string[] | undefined
  let begins = true
  for (const word of wordsOf(line.replace(/^\$ /, '').replace(/\bsudo (?:-u \S+ )?/g, ''))) {
    if (END.test(word)) {
      words = undefined
      begins = true
    } else if (words !== undefined) words.push(word)
    else if (begins && (word === 'inmesh' || /^inmesh@/.test(word))) {
      words = []
      found.push(words)
    } else begins = begins && BEFORE.test(word)
  }
  return found
}

function wordsOf(line: string): readonly string[] {
  const word = /\s+#.*$|^#.*$|[|&;]+|\$?\(|\)|\d?[<>]{1,2}&?\s*[^\s|;&)]*|(?:"[^"]*"|'[^']*'|\\.|[^\s|&;()<>"'\\])+/g
  const inner: string[] = []
  const words = [...line.matchAll(word)].map(([text]) => {
    // A command inside quotes or of an assignment.
    const nested = /"?\$\((.*)\)"?$/.exec(text)
    if (nested !== null) inner.push(nested[1]!)
    return text
  })
  const plain = words
    .filter((text) => !/^\s*#/.test(text))
    // Without quotes it stands for any number of words.
    .filter((text) => !/^\$\w+$/.test(text))
    .map((text) => (text === '$(' ? '(' : text.replace(/(?<!\\)["']/g, '')))
  return [...plain, ...inner.flatMap((text) => [';', ...wordsOf(text)])]
}

/** `undefined`: the command takes these words. */
export function mistakeIn(args: readonly string[]): string | undefined {
  const program = commands()
  silence(program)
  try {
    program.parse(args as string[], { from: 'user' })
    return undefined
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? undefined : error.message
  }
}

/** The same for words in a sentence, which leave out arguments. */
export function unknownIn(words: readonly string[]): string | undefined {
  let command = commands()
  const flags = new Set(['--help', ...command.options.map(({ long }) => long)])
  for (const [index, word] of words.entries()) {
    const next = command.commands.find((one) => one.name() === word)
    if (next !== undefined) {
      command = next
      for (const { long } of command.options) flags.add(long)
    } else if (index === 0 && /^[a-z-]+$/.test(word)) return `there is no command ${word}`
  }
  const unknown = words.map((word) => word.split('=')[0]!).filter((word) => /^--[a-z]/.test(word) && !flags.has(word))
  return unknown.length === 0 ? undefined : `there is no flag ${unknown.join(', ')}`
}

function commands(): Command {
  const streams = { stdout: { write() {} }, stderr: { write() {} }, stdin: (async function* () {})(), env: {} }
  return buildProgram(streams as never)
}

/** Checks words, and does nothing. */
function silence(command: Command): void {
  // A group is no command by itself.
  if (command.commands.length === 0) command.action(() => {})
  for (const one of command.commands) silence(one)
}
