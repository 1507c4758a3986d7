/** Finds requests that were executed more often than they were sent, in the instances' ledgers. */

export interface Repeats {
  /** POSTs that were executed more than once: what must not happen. */
  readonly posts: number
  /** GETs that were: what retries do, and what does no harm. */
  readonly gets: number
}

/**
 * Of the requests whose id begins with `prefix`. The kind of a request is in its id:
 * `<prefix>-g<n>` or `<prefix>-p<n>`.
 */
export function countRepeats(ledger: readonly string[], prefix: string): Repeats {
  const seen = new Set<string>()
  const repeated = new Set<string>()
  for (const id of ledger) {
    if (!id.startsWith(`${prefix}-`)) continue
    if (seen.has(id)) repeated.add(id)
    else seen.add(id)
  }
  const kind = (letter: string): number => [...repeated].filter((id) => id[prefix.length + 1] === letter).length
  return { posts: kind('p'), gets: kind('g') }
}
