/** The nearest valid name to a mistyped one, for error messages. */

/** Levenshtein's edit distance, computed in one row. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

/** `undefined` if no name is near enough to be the intended one. */
export function nearest(name: string, valid: Iterable<string>): string | undefined {
  const wanted = name.slice(0, 64).toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1
  for (const candidate of valid) {
    // At least as many letters differ.
    if (Math.abs(candidate.length - wanted.length) >= bestDistance) continue
    const found = distance(wanted, candidate.toLowerCase())
    if (found < bestDistance) {
      best = candidate
      bestDistance = found
    }
  }
  return best
}

/** A hint such as `; did you mean 'attempts'?`, or an empty text. */
export function didYouMean(name: string, valid: Iterable<string>): string {
  const found = nearest(name, valid)
  return found === undefined ? '' : `; did you mean '${found}'?`
}
