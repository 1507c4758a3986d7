/**
 * Redacts secrets in dumps and events, recognized by the name of a field or the form of a value.
 */

export const REDACTED = '[redacted]'

const SECRET_NAME = /private_?key|^key$|^pfx$|^token$|_token$|Token$|secret|passw|passphrase|authorization|cookie/i
/** Headers beside them that prove who asks, or are a key to something. */
const SECRET_HEADER = new RegExp(
  [
    'authenticat|credential|signature|hmac|session|csrf|xsrf|jwt|client-cert|assertion',
    '(?:api|access|auth|functions|subscription)-?key',
    '(?:^|-)(?:auth|otp)(?:-|$)',
  ].join('|'),
  'i',
)
/**
 * Linear in the text, as every expression for outside text must be: no two parts match the same
 * characters.
 */
const SECRET_TEXT =
  /-----BEGIN [A-Z ]{0,32}PRIVATE KEY|\bBearer\s|\binmesh-(?:join|admin)\.|:\/\/[^\s/?#@:]{0,128}:[^\s/?#@]{1,128}@/i
const JWT_BEGIN = 'eyJ'
const TOKENS = /\binmesh-(?:join|admin)\.[\w.-]*|\beyJ[\w-]{6,}[\w.-]*/gi

/** Deeper than any configuration. It also ends cycles. */
const DEEPEST = 12

/** Whether a header of this name, in lower case, has a value that no log may show. */
export function isSecretHeader(name: string): boolean {
  return SECRET_NAME.test(name) || SECRET_HEADER.test(name)
}

/**
 * Text without secrets, at most `longest` characters. Truncates first: a stranger chooses the
 * length.
 */
export function redactText(text: string, longest = 10_000): string {
  const cut = text.length > longest
  const kept = cut ? text.slice(0, longest) : text
  if (SECRET_TEXT.test(kept) || holdsToken(kept, cut)) return REDACTED
  return cut ? `${kept.slice(0, longest - 3)}...` : kept
}

/** The text with the tokens in it replaced, also those that were cut off; the rest stays. */
export function maskTokens(text: string): string {
  return text.replace(TOKENS, REDACTED)
}

/**
 * Whether the text contains a JWT, or the beginning of one if it was truncated: `eyJ….….`, in one
 * pass.
 */
function holdsToken(text: string, cut: boolean): boolean {
  for (let at = text.indexOf(JWT_BEGIN); at >= 0; ) {
    const header = endOfWord(text, at)
    const payload = text[header] === '.' ? endOfWord(text, header + 1) : header
    const whole = text[payload] === '.' && payload > header + 1
    if (header > at + JWT_BEGIN.length && (whole || (cut && payload === text.length))) return true
    at = text.indexOf(JWT_BEGIN, header)
  }
  return false
}

function endOfWord(text: string, from: number): number {
  let end = from
  while (end < text.length && isWord(text.charCodeAt(end))) end += 1
  return end
}

/** A character of base64url. */
function isWord(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 45 ||
    code === 95
  )
}

/**
 * A copy that is safe to show as JSON: secrets replaced, functions omitted, maps as objects,
 * infinite instants as null.
 */
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
