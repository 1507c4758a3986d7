/**
 * Durations of Gateway API manifests (GEP-2257): one to four whole numbers, each with its unit. No
 * fractions, which our own documents take.
 */
import { type Field, field } from '../options/fields.ts'

const PATTERN = /^(?:\d{1,5}(?:h|m|s|ms)){1,4}$/
const PART = /(\d{1,5})(h|ms|m|s)/g
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 }

/** Milliseconds; `undefined` if `value` is no duration of a manifest. */
export function parseGatewayDuration(value: unknown): number | undefined {
  if (typeof value !== 'string' || !PATTERN.test(value)) return undefined
  let ms = 0
  for (const [, count, unit] of value.matchAll(PART)) ms += Number(count) * UNIT_MS[unit!]!
  return ms
}

/** In the largest unit that shows it exactly: `5m`, `24h`. */
function formatGatewayDuration(ms: number): string {
  const [unit, size] = Object.entries(UNIT_MS).find(([, each]) => ms % each === 0)!
  return `${ms / size}${unit}`
}

/** A duration of at most `maxMs`. */
export function gatewayDuration(maxMs: number): Field<number, string, 'Ms'> {
  const expected = `a duration of whole numbers such as '10s', '1h30m' or '500ms', at most ${formatGatewayDuration(maxMs)}`
  return field(
    expected,
    { type: 'string', pattern: PATTERN.source },
    (value) => {
      const ms = parseGatewayDuration(value)
      return ms !== undefined && ms <= maxMs ? ms : undefined
    },
    'Ms',
  )
}
