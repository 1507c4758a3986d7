/**
 * Parses durations as users write them: milliseconds, or text such as `'200ms'`, `'1.5s'`, `'10m'`,
 * `'24h'`.
 */

/** Milliseconds as a number, or a number with a unit: `ms`, `s`, `m`, `h`, `d`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const PATTERN = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/

/** Milliseconds; `undefined` if `value` is no duration. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  if (typeof value !== 'string') return undefined
  const match = PATTERN.exec(value)
  return match ? Number(match[1]) * UNIT_MS[match[2]!]! : undefined
}

/** The shortest exact text: `250ms`, `10s`, `24h`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNIT_MS[unit]!
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${Math.round(ms * 1000) / 1000}ms`
}
