/** Numbers in heads. By character instead of a regular expression: each call pays for several. */

const MOST_LENGTH_DIGITS = 15

/** The number that 1 to `most` digits make; -1 for anything else. */
export function digitsOf(text: string, most: number): number {
  const { length } = text
  if (length === 0 || length > most) return -1
  let number = 0
  for (let i = 0; i < length; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
  }
  return number
}

/** The bytes that a `content-length` announces, or -1 if `value` is none. */
export function lengthOf(value: string): number {
  return digitsOf(value, MOST_LENGTH_DIGITS)
}
