/**
 * Normalizes the path of a request, so that authorization and router see the same string. Paths
 * that two parsers could read differently are refused.
 */

/**
 * Stands for a path that routers read differently (`;params`, `//`). No rule with paths matches it.
 */
export const AMBIGUOUS = '?'

const PLAIN = 0
const SLASH = 1
const DOT = 2
const PERCENT = 3
const END = 4
const SEPARATOR = 5
const REFUSED = 6

/** The class of each ASCII character. Characters outside RFC 3986 that clients send are plain. */
const CLASS = new Uint8Array(128).fill(PLAIN)
for (let code = 0; code < 128; code++) if (code <= 0x20 || code === 0x7f) CLASS[code] = REFUSED
CLASS['/'.charCodeAt(0)] = SLASH
CLASS['.'.charCodeAt(0)] = DOT
CLASS['%'.charCodeAt(0)] = PERCENT
CLASS['?'.charCodeAt(0)] = END
CLASS[';'.charCodeAt(0)] = SEPARATOR
CLASS['\\'.charCodeAt(0)] = REFUSED
CLASS['#'.charCodeAt(0)] = REFUSED

const UNRESERVED = /^[A-Za-z0-9\-._~]$/
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/

/**
 * The path of a request target without its query: unreserved characters decoded, other escapes in
 * upper case. {@link AMBIGUOUS} if routers read it differently. `undefined` for dot segments,
 * escaped slashes and backslashes, control characters, invalid escapes or UTF-8, `//` at the front,
 * and targets that are not in origin form.
 */
export function readPath(target: string): string | undefined {
  return read(target, false)
}

/**
 * The same, with a path that routers read differently as it is: for decisions that grant nothing.
 */
export function normalPath(target: string): string | undefined {
  return read(target, true)
}

function read(target: string, evenAmbiguous: boolean): string | undefined {
  if (target.charCodeAt(0) !== 0x2f || target.charCodeAt(1) === 0x2f) return undefined
  let ambiguous = false
  let escaped = false
  let dotted = false
  let slash = true
  let end = target.length
  for (let i = 1; i < end; i++) {
    const code = target.charCodeAt(i)
    const kind = code < 128 ? CLASS[code]! : REFUSED
    if (kind === PLAIN) {
      slash = false
      continue
    }
    if (kind === REFUSED) return undefined
    if (kind === END) {
      end = i
      break
    }
    if (kind === SLASH) {
      if (slash) ambiguous = true
      slash = true
      continue
    }
    if (kind === DOT) dotted ||= slash
    else if (kind === PERCENT) escaped = true
    else ambiguous = true
    slash = false
  }
  let path: string | undefined = end === target.length ? target : target.slice(0, end)
  if (escaped) {
    path = decodeUnreserved(path)
    if (path === undefined) return undefined
    if (path.includes('%3B')) ambiguous = true
  }
  if ((dotted || escaped) && DOT_SEGMENT.test(path)) return undefined
  return ambiguous && !evenAmbiguous ? AMBIGUOUS : path
}

/** Replaces the path of `target` with the normalized one. */
export function withPath(target: string, path: string): string {
  if (path === AMBIGUOUS || target === path) return target
  const query = target.indexOf('?')
  if (query < 0) return path
  return query === path.length && target.startsWith(path) ? target : path + target.slice(query)
}

function decodeUnreserved(path: string): string | undefined {
  let decoded = ''
  let from = 0
  let beyondAscii = false
  for (;;) {
    const at = path.indexOf('%', from)
    if (at < 0) return beyondAscii && !isUtf8(path) ? undefined : decoded + path.slice(from)
    const hex = path.slice(at + 1, at + 3)
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return undefined
    const code = Number.parseInt(hex, 16)
    if (code < 0x20 || code === 0x7f || code === 0x2f || code === 0x5c) return undefined
    if (code >= 0x80) beyondAscii = true
    const character = String.fromCharCode(code)
    decoded += path.slice(from, at) + (UNRESERVED.test(character) ? character : `%${hex.toUpperCase()}`)
    from = at + 3
  }
}

/** Decoders disagree about invalid UTF-8, such as overlong forms. */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
