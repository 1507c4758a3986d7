/** The conditions on a value, such as that of a header. */
import { byKind, convert } from '../options/composed-fields.ts'
import { type Field, optional, text } from '../options/fields.ts'
import { regexMistake } from './linear-regex.ts'
import { oneKeyOf } from './one-key.ts'

export type ValueMatch =
  | { readonly kind: 'present' }
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'regex'; readonly source: string }

/** The header that names the called service. */
export const HOST = 'host'

const VALUE = /^\P{Cc}*$/u

const SOURCE = text("a regular expression in RE2's syntax, of 1 to 1024 characters", /^\P{Cc}+$/u, 1_024)

/** The source of a valid regular expression. */
export const REGEX: Field<string> = {
  ...SOURCE,
  parse(value, path, issues) {
    const before = issues.length
    const source = SOURCE.parse(value, path, issues)
    const mistake = issues.length === before ? regexMistake(source) : undefined
    if (mistake !== undefined)
      issues.push({ path, message: `expected a regular expression in RE2's syntax: ${mistake}` })
    return source
  },
}

const exact = text('the exact value, at most 1024 characters and none of control', VALUE, 1_024)
const FORMS = oneKeyOf({
  /** This value, `'*'` included. */
  exact: optional(convert(exact, (value): ValueMatch => Object.freeze({ kind: 'exact', value }))),
  /** For the whole value, in RE2's syntax. */
  regex: optional(convert(REGEX, (source): ValueMatch => Object.freeze({ kind: 'regex', source }))),
})

const PRESENT: ValueMatch = Object.freeze({ kind: 'present' })

/** How users write the condition: the exact value, `'*'` for any, or an object. */
export const VALUE_MATCH = byKind({
  text: convert(exact, (value): ValueMatch => (value === '*' ? PRESENT : Object.freeze({ kind: 'exact', value }))),
  object: convert(FORMS, (given) => (given.exact ?? given.regex)!),
})
