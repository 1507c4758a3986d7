/** Which statuses an operator wants to see: `503`, `5xx`, or `none` where no answer came. */

export const STATUS_PATTERN = /^(?:[1-5]xx|[0-9]{1,3}|none)$/

/** No patterns: every status. */
export function statusMatches(patterns: readonly string[] | undefined, status: number | undefined): boolean {
  if (patterns === undefined || patterns.length === 0) return true
  return patterns.some((pattern) => {
    if (pattern === 'none') return status === undefined
    if (status === undefined) return false
    return pattern.endsWith('xx') ? Math.floor(status / 100) === Number(pattern[0]) : status === Number(pattern)
  })
}
