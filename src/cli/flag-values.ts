/** Turns the text of a flag into a value, or fails naming the flag and what is valid. */
import { InvalidArgumentError } from 'commander'
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
