/** Turns the text of a flag into a value, or fails naming the flag and what is valid. */
import { type Command, InvalidArgumentError, type Option } from 'commander'
import { joinLines } from '../core/field-value.ts'
import type { AnyField, Issue } from '../options/fields.ts'

/**
 * For commander's `argParser`: the same descriptions as options and documents use. `prepare` turns
 * text into what it means.
 */
export function parsed<T>(
  description: AnyField<T>,
  prepare: (text: string) => unknown = (text) => text,
): (text: string) => T {
  return (text) => {
    const issues: Issue[] = []
    const value = description.parse(prepare(text), [], issues)
    if (issues.length > 0) throw new InvalidArgumentError(`${issues.map(({ message }) => message).join('; ')}.`)
    return value
  }
}

/** What is no number stays text, so that the description names it. */
export function numeric(text: string): unknown {
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text
}

type Add<T> = (text: string, before?: T) => T

const COLLECTORS = new WeakSet<object>()

/** For an option that may be repeated: `add` puts an occurrence to those before it. */
export function collected<T>(add: Add<T>): Add<T> {
  COLLECTORS.add(add)
  return add
}

/** Makes a repeated option an error, here and in all subcommands; commander takes the last. */
export function refuseRepeated(command: Command): void {
  for (const option of command.options) {
    if (!takesOne(option)) continue
    let given = false
    command.on(`option:${option.name()}`, () => {
      if (given) command.error(`error: option '${option.flags}' is given more than once`)
      given = true
    })
  }
  command.commands.forEach(refuseRepeated)
}

function takesOne({ required, optional, variadic, parseArg }: Option): boolean {
  return (required || optional) && !variadic && (parseArg === undefined || !COLLECTORS.has(parseArg))
}

const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/

/** For `-H 'x-user: 7'`, which may be repeated. */
export function readHeader(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const [, name, value] = HEADER.exec(text) ?? []
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError("Expected a header and its value, such as 'x-user: 7'.")
  }
  const lower = name.toLowerCase()
  return { ...before, [lower]: joinLines(lower, Object.hasOwn(before, lower) ? before[lower] : undefined, value) }
}
