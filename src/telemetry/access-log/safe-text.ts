/**
 * Text from outside as a line of a log may hold it: bounded, without secrets, and with every
 * character escaped that a terminal or a reader of lines would act on.
 */
import { REDACTED, redactText } from '../redact.ts'

/** Controls, formats such as those that reverse text, ends of lines, halves of characters. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu
const HALF_AT_END = /\p{Cs}$/u
const ELLIPSIS = '...'

/** At most `longest` characters, escapes included. */
export function safeText(text: string, longest: number): string {
  const redacted = redactText(text, longest)
  if (redacted === REDACTED) return REDACTED
  const escaped = redacted.replace(UNSAFE, escapeCharacter)
  if (escaped.length <= longest) return escaped
  return `${escaped.slice(0, longest - ELLIPSIS.length).replace(HALF_AT_END, '')}${ELLIPSIS}`
}

function escapeCharacter(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`
}
