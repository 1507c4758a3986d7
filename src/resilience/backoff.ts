/**
 * The wait between attempts, spread at random so that clients that failed at the same instant do
 * not come back at the same instant (Marc Brooker, "Exponential Backoff And Jitter", AWS 2015: the
 * three families and their formulas).
 */
import type { Clock } from '../core/clock.ts'
import { type Duration, formatDuration } from '../options/duration.ts'
import { fields, oneOf, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'

/**
 * - `full`: anything from nothing to the exponential bound. Spreads best, costs the least work.
 * - `equal`: at least half of the bound, so that no retry comes at once.
 * - `decorrelated`: grows from the last wait instead of the number of attempts.
 */
export const JITTERS = ['full', 'equal', 'decorrelated'] as const
export type Jitter = (typeof JITTERS)[number]

/** How long to wait before the next attempt. */
export interface BackoffOptions {
  /** Upper bound of the first wait. @defaultValue `'25ms'` (gRFC A44) */
  readonly base?: Duration
  /** Upper bound of any wait. @defaultValue `'250ms'` (ten times the base, gRFC A44) */
  readonly max?: Duration
  /** How the wait is spread. @defaultValue `'full'` */
  readonly jitter?: Jitter
}

export interface Backoff {
  readonly baseMs: number
  readonly maxMs: number
  readonly jitter: Jitter
}

export const BACKOFF_DEFAULTS: Backoff = Object.freeze({ baseMs: 25, maxMs: 250, jitter: 'full' })

export const BACKOFF_FIELDS = fields({
  base: withDefault(duration({ min: 0, max: 60_000 }), BACKOFF_DEFAULTS.baseMs, formatDuration(25)),
  max: withDefault(duration({ min: 0, max: 300_000 }), BACKOFF_DEFAULTS.maxMs, formatDuration(250)),
  jitter: withDefault(oneOf(JITTERS), BACKOFF_DEFAULTS.jitter),
})

/**
 * The wait before retry `retry` (0 is the first) in ms; `lastMs` is the wait before the one that
 * failed now, 0 if there was none.
 */
export function backoffMs(backoff: Backoff, retry: number, lastMs: number, clock: Clock): number {
  const { baseMs, maxMs, jitter } = backoff
  if (jitter === 'decorrelated') {
    const from = Math.min(baseMs, maxMs)
    return Math.min(maxMs, from + clock.random() * (Math.max(lastMs, from) * 3 - from))
  }
  const boundMs = Math.min(maxMs, baseMs * 2 ** Math.min(retry, 30))
  return jitter === 'equal' ? boundMs / 2 + clock.random() * (boundMs / 2) : clock.random() * boundMs
}
