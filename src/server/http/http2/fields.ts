/** Headers for `node:http2`, from the flat ones of a response. */

/** Clients of HTTP/2 take these for an error (RFC 9113, 8.2.2). */
const OF_HTTP1: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'te',
])

export type Fields = Record<string, string | string[]>

/** `headers`: names in lower case. Repeated names become lists. */
export function fieldsOf(headers: readonly string[]): Fields {
  const fields: Fields = Object.create(null) as Fields
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]!
    if (OF_HTTP1.has(name)) continue
    const value = headers[i + 1]!.trim()
    const before = fields[name]
    if (before === undefined) fields[name] = value
    else if (typeof before === 'string') fields[name] = [before, value]
    else before.push(value)
  }
  return fields
}
