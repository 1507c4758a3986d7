/** The mean of results of several seeds. */

/**
 * Numbers become their means, and values that are the same in all stay. Results have the same
 * shape, because a seed changes only numbers.
 */
export function mean<T>(results: readonly T[]): T {
  return meanOf(results) as T
}

function meanOf(results: readonly unknown[]): unknown {
  const [first] = results
  if (typeof first === 'number') return (results as number[]).reduce((sum, each) => sum + each, 0) / results.length
  if (Array.isArray(first)) return first.map((_, i) => meanOf(results.map((each) => (each as unknown[])[i])))
  if (typeof first !== 'object' || first === null) return first
  return Object.fromEntries(
    Object.keys(first).map((key) => [key, meanOf(results.map((each) => (each as Record<string, unknown>)[key]))]),
  )
}
