/** What may leave the process in dumps and events: everything but secrets, by name and by look (faults-and-attacks A38). */

export const REDACTED = '[redacted]'

const SECRET_NAME = /private_?key|^key$|^pfx$|^token$|_token$|Token$|secret|passw|passphrase|authorization|cookie/i
const SECRET_TEXT = /-----BEGIN [A-Z ]*PRIVATE KEY-----|\bBearer\s+\S|\beyJ[\w-]+\.[\w-]+\.[\w-]*/

/** Deeper than any configuration; a cycle ends here. */
const DEEPEST = 12

/** Text without secrets, at most `longest` characters. */
export function redactText(text: string, longest = 10_000): string {
  if (SECRET_TEXT.test(text)) return REDACTED
  return text.length > longest ? `${text.slice(0, longest - 3)}...` : text
}

/** A copy that is safe to show as JSON: secrets replaced, functions left out, maps as objects, instants without value as null. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (typeof value !== 'object' || value === null) return value
  if (depth >= DEEPEST) return '[too deep]'
  if (ArrayBuffer.isView(value)) return REDACTED
  if (value instanceof Error) return redactText(value.message)
  if (value instanceof Set || Array.isArray(value)) return [...value].map((item) => redact(item, depth + 1))
  const entries = value instanceof Map ? [...value].map(([k, v]) => [String(k), v] as const) : Object.entries(value)
  return Object.fromEntries(
    entries.map(([name, item]) => {
      const secret = SECRET_NAME.test(name) && item !== undefined && item !== null && typeof item !== 'boolean'
      return [name, secret ? REDACTED : redact(item, depth + 1)]
    }),
  )
}
