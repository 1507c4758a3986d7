/** Reads the head that Node's response writes for HTTP/1.1, to send it on a stream. */

/** The fields of `text` from `at` to an empty line or its end. Flat, names in lower case. */
export function readFields(text: string, at: number): string[] {
  const headers: string[] = []
  let from = at
  while (from < text.length) {
    const end = text.indexOf('\r\n', from)
    if (end === -1 || end === from) break
    const colon = text.indexOf(':', from)
    const name = text.slice(from, colon).toLowerCase()
    if (!isOfConnection(name)) headers.push(name, text.slice(skipSpace(text, colon + 1, end), trimSpace(text, end)))
    from = end + 2
  }
  return headers
}

/** A header that speaks of the connection below one answer of HTTP/1.1 (RFC 9113, 8.2.2). */
function isOfConnection(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === 'upgrade'
    case 10:
      return name === 'connection' || name === 'keep-alive'
    case 16:
      return name === 'proxy-connection'
    case 17:
      return name === 'transfer-encoding'
    default:
      return false
  }
}

function skipSpace(text: string, from: number, end: number): number {
  let at = from
  while (at < end && isSpace(text.charCodeAt(at))) at += 1
  return at
}

function trimSpace(text: string, end: number): number {
  let at = end
  while (isSpace(text.charCodeAt(at - 1))) at -= 1
  return at
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09
}
