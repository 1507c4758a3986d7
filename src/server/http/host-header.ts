/** Validates Host, so that no two parsers read it differently (RFC 9112, 3.2; RFC 3986, 3.2.2). */
import { isIPv6 } from 'node:net'

/** A registered name without escapes and sub-delimiters: parsers split `a,b` differently. */
const NAME = /^[A-Za-z0-9._~-]{1,255}(?::(\d{0,5}))?$/
const LITERAL = /^\[([0-9A-Fa-f:.]{2,45})\](?::(\d{0,5}))?$/
const HIGHEST_PORT = 65_535

/** The last valid value: nearly all requests to a server name the same host. */
let known = ''

export function isHost(value: string): boolean {
  if (value === known) return value !== ''
  const name = NAME.exec(value)
  const literal = name === null ? LITERAL.exec(value) : null
  if (name === null && (literal === null || !isIPv6(literal[1]!))) return false
  const port = name === null ? literal![2] : name[1]
  if (port !== undefined && Number(port) > HIGHEST_PORT) return false
  known = value
  return true
}
