/** The value of a header as a receiver reads its lines (RFC 9110, 5.3 and 5.5). */

const SPACE = 0x20
const TAB = 0x09

/** `before` and one more line: `cookie` has a separator to itself (RFC 9113, 8.2.3). */
export function joinLines(name: string, before: string | undefined, line: string): string {
  const value = withoutOuterSpace(line)
  return before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`
}

/** Without spaces and tabs around it. */
export function withoutOuterSpace(line: string): string {
  let start = 0
  let end = line.length
  while (start < end && isSpace(line.charCodeAt(start))) start += 1
  while (end > start && isSpace(line.charCodeAt(end - 1))) end -= 1
  return end - start === line.length ? line : line.slice(start, end)
}

function isSpace(code: number): boolean {
  return code === SPACE || code === TAB
}
