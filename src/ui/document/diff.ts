/** What differs between two documents, leaf by leaf. */

export interface Difference {
  readonly path: string
  /** As JSON; `undefined`: it was, or is, not there. */
  readonly was: string | undefined
  readonly is: string | undefined
}

export function changesBetween(before: unknown, after: unknown): Difference[] {
  const [was, is] = [leaves(before), leaves(after)]
  const paths = new Set([...was.keys(), ...is.keys()])
  return [...paths]
    .filter((path) => was.get(path) !== is.get(path))
    .sort()
    .map((path) => ({ path, was: was.get(path), is: is.get(path) }))
}

function leaves(value: unknown, path = '', found = new Map<string, string>()): Map<string, string> {
  const isBranch = typeof value === 'object' && value !== null && Object.keys(value).length > 0
  if (!isBranch) {
    if (path !== '' || (value !== null && value !== undefined)) found.set(path, JSON.stringify(value))
    return found
  }
  for (const [key, child] of Object.entries(value)) {
    const step = Array.isArray(value) ? `[${key}]` : path === '' ? key : `.${key}`
    leaves(child, `${path}${step}`, found)
  }
  return found
}
