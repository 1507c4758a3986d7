/**
 * Finds keys that a JSON object contains twice. Parsers disagree on which of the two values counts
 * (RFC 8259, 4).
 */

/**
 * The first key that an object has twice, `undefined` if none has. `text` is valid JSON. Linear,
 * and not recursive.
 */
export function duplicateKey(text: string): string | undefined {
  /** The keys of each object that is open; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = []
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === '{') open.push(new Set())
    else if (character === '[') open.push(undefined)
    else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfString(text, i)
      const keys = open.at(-1)
      if (keys !== undefined && isFollowedByColon(text, end)) {
        const key = JSON.parse(text.slice(i, end)) as string
        if (keys.has(key)) return key
        keys.add(key)
      }
      i = end - 1
    }
  }
  return undefined
}

/** Behind the closing quote. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0
    while (text[end - 1 - escapes] === '\\') escapes += 1
    // An odd number of them: the quote belongs to the text.
    if (escapes % 2 === 0) return end + 1
  }
}

function isFollowedByColon(text: string, end: number): boolean {
  let i = end
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i += 1
  return text[i] === ':'
}
