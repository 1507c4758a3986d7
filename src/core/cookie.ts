/** Reads one cookie of a `cookie` header. */

/** `a=1; b=2` (RFC 6265, 4.2.1). */
export function cookieOf(cookies: string, name: string): string | undefined {
  for (let from = 0; from < cookies.length; ) {
    let end = cookies.indexOf(';', from)
    if (end < 0) end = cookies.length
    while (cookies[from] === ' ') from += 1
    if (cookies.startsWith(name, from) && cookies[from + name.length] === '=') {
      return cookies.slice(from + name.length + 1, end).trimEnd()
    }
    from = end + 1
  }
  return undefined
}
