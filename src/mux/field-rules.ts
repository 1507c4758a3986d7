/**
 * The rules for the parts of a head, the same where it is written and where it is read: as strict
 * as a server of HTTP/1.1 must be.
 */

/** What a field means to the mux itself. */
export const RULE = Object.freeze({
  PLAIN: 0,
  /** It concerns one connection of HTTP/1.1: framing, keep-alive, upgrades. */
  CONNECTION: 1,
  HOST: 2,
  LENGTH: 3,
  /** May only say `trailers`. */
  TE: 4,
  INVALID: 5,
})

const SPECIAL: ReadonlyMap<string, number> = new Map([
  ['connection', RULE.CONNECTION],
  ['keep-alive', RULE.CONNECTION],
  ['proxy-connection', RULE.CONNECTION],
  ['transfer-encoding', RULE.CONNECTION],
  ['upgrade', RULE.CONNECTION],
  ['host', RULE.HOST],
  ['content-length', RULE.LENGTH],
  ['te', RULE.TE],
])

/** Lower case, so that two spellings are one header. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]{1,255}$/
/** CONNECT makes a tunnel, which a stream is not. */
const METHOD = /^(?!CONNECT$)[!#$%&'*+\-.^_`|~0-9A-Z]{1,32}$/
/** Printable, without space and fragment. */
const PATH = /^\/[\x21\x22\x24-\x7e\x80-\xff]*$/
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/** Names that were checked before. An application uses few. */
const known = new Map<string, number>(SPECIAL)
const MOST_KNOWN = 1_000

/** The rule for a name in lower case. */
export function ruleOf(name: string): number {
  const rule = known.get(name)
  if (rule !== undefined) return rule
  const checked = NAME.test(name) ? RULE.PLAIN : RULE.INVALID
  if (known.size < MOST_KNOWN && name.length <= 64) known.set(name, checked)
  return checked
}

export function isMethod(method: string): boolean {
  return METHOD.test(method)
}

export function isPath(path: string, method: string): boolean {
  return PATH.test(path) || (path === '*' && method === 'OPTIONS')
}

/** A final or informational status; 101 would leave the protocol. */
export function isStatus(status: number): boolean {
  return status >= 100 && status <= 999 && status !== 101 && Number.isInteger(status)
}

/** Whether text is free of control characters and of what latin1 does not have. */
export function isText(value: string): boolean {
  return !NO_VALUE.test(value)
}

const SPACE = 0x20
const TAB = 0x09

export function isSpace(code: number): boolean {
  return code === SPACE || code === TAB
}

/** Whether a value has white space around it, which is no part of it (RFC 9110, 5.5). */
export function isPadded(value: string): boolean {
  return value !== '' && (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(value.length - 1)))
}

/** Answers that never have a body. */
export function isBodiless(status: number): boolean {
  return status < 200 || status === 204 || status === 304
}
