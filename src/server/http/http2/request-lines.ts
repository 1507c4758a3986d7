/**
 * The head of an HTTP/2 request in the form of HTTP/1.1, for one set of checks and one kind of
 * request. nghttp2 has refused wrong pseudo headers, upper case and headers of a connection.
 */
export interface RequestLines {
  readonly method: string
  readonly path: string
  /** Flat, names in lower case; `host` first. */
  readonly headers: string[]
  /** Why it is refused. */
  readonly problem: string | undefined
}

/** `raw`: names and values as received. */
export function readRequestLines(raw: readonly string[]): RequestLines {
  let method = ''
  let path = ''
  let scheme: string | undefined
  let authority: string | undefined
  let cookie = -1
  let differs = false
  const headers: string[] = ['host', '']
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!
    const value = raw[i + 1]!
    if (name.charCodeAt(0) === COLON) {
      if (name === ':method') method = value
      else if (name === ':path') path = value
      else if (name === ':scheme') scheme = value
      else if (name === ':authority') authority = value
    } else if (name === 'host') {
      // Two parsers could take it for two different requests (RFC 9113, 8.3.1).
      differs ||= authority !== undefined && value !== authority
      authority ??= value
    } else if (name === 'cookie' && cookie >= 0) {
      // Clients may send each pair in a line (RFC 9113, 8.2.3).
      headers[cookie] += `; ${value}`
    } else {
      if (name === 'cookie') cookie = headers.length + 1
      headers.push(name, value)
    }
  }
  if (authority === undefined) headers.splice(0, 2)
  else headers[1] = authority
  return { method, path, headers, problem: problemOf(method, scheme, differs) }
}

const COLON = 0x3a

function problemOf(method: string, scheme: string | undefined, differs: boolean): string | undefined {
  // CONNECT has neither scheme nor path, and is not served.
  if (method !== 'CONNECT' && scheme !== 'https' && scheme !== 'http') return 'The scheme is neither https nor http.'
  return differs ? 'The headers host and :authority differ.' : undefined
}
