/**
 * Fields for quantities as users write them: whole numbers, durations, shares and rates in bounds.
 */
import { type Duration, formatDuration, parseDuration } from './duration.ts'
import { type Field, field } from './fields.ts'

/** A share as users write it: from 0 to 1, or in percent. */
export type Share = number | `${number}%`
/** A rate as users write it: per second, or as text. */
export type Rate = number | `${number}/${'s' | 'm' | 'h'}`

/** A duration in ms, given as a number of ms or as text with a unit. */
export function duration(limits: { min?: number; max?: number } = {}): Field<number, Duration, 'Ms'> {
  const { min = 0, max = 86_400_000 * 365 } = limits
  const expected = `a duration from ${formatDuration(min)} to ${formatDuration(max)}, as milliseconds or as text such as '10s'`
  const schema = {
    oneOf: [
      { type: 'number', minimum: min, maximum: max },
      { type: 'string', pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$' },
    ],
  }
  const accept = (value: unknown) => {
    const ms = parseDuration(value)
    return ms !== undefined && ms >= min && ms <= max ? ms : undefined
  }
  return field(expected, schema, accept, 'Ms')
}

export function integer(limits: { min: number; max: number }): Field<number> {
  const { min, max } = limits
  return field(`a whole number from ${min} to ${max}`, { type: 'integer', minimum: min, maximum: max }, (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max ? (value as number) : undefined,
  )
}

export function number(limits: { min: number; max: number }): Field<number> {
  const { min, max } = limits
  return field(`a number from ${min} to ${max}`, { type: 'number', minimum: min, maximum: max }, (value) =>
    typeof value === 'number' && value >= min && value <= max ? value : undefined,
  )
}

/** A share, as a number from 0 to 1 or as text such as `'50%'`; becomes the number from 0 to 1. */
export function share(limits: { min?: number; max?: number } = {}): Field<number, Share> {
  const { min = 0, max = 1 } = limits
  const expected = `a share from ${min * 100}% to ${max * 100}%, as text such as '50%' or as a number from ${min} to ${max}`
  const schema = {
    oneOf: [
      { type: 'number', minimum: min, maximum: max },
      { type: 'string', pattern: '^\\d+(\\.\\d+)?%$' },
    ],
  }
  return field(expected, schema, (value) => {
    const text = typeof value === 'string' ? /^(\d{1,3}(?:\.\d{1,6})?)%$/.exec(value) : null
    const parsed = text ? Number(text[1]) / 100 : value
    return typeof parsed === 'number' && parsed >= min && parsed <= max ? parsed : undefined
  })
}

/**
 * Events per second, as a number or as text such as `'500/s'`, `'30/m'`; becomes a number per
 * second.
 */
export function rate(limits: { min: number; max: number }): Field<number, Rate, 'PerSecond'> {
  const expected = `a rate from ${limits.min} to ${limits.max} per second, as a number or as text such as '500/s', '30/m'`
  const schema = {
    oneOf: [
      { type: 'number', minimum: limits.min, maximum: limits.max },
      { type: 'string', pattern: '^\\d+(\\.\\d+)?/(s|m|h)$' },
    ],
  }
  const seconds: Record<string, number> = { s: 1, m: 60, h: 3600 }
  const accept = (value: unknown) => {
    const text = typeof value === 'string' ? /^(\d{1,9}(?:\.\d{1,6})?)\/(s|m|h)$/.exec(value) : null
    const parsed = text ? Number(text[1]) / seconds[text[2]!]! : value
    return typeof parsed === 'number' && parsed >= limits.min && parsed <= limits.max ? parsed : undefined
  }
  return field(expected, schema, accept, 'PerSecond')
}
