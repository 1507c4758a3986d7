/**
 * The wait between attempts. Full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS 2015): the uniform spread
 * decorrelates clients that failed at the same instant.
 */
import type { Clock } from '../core/clock.ts'
import { type Duration, formatDuration } from '../core/duration.ts'
import { duration, fields, withDefault } from '../core/fields.ts'

/** How long to wait before the next attempt. */
export interface BackoffOptions {
  /** Upper bound of the first wait. @defaultValue `'25ms'` (gRFC A44) */
  readonly base?: Duration
  /** Upper bound of any wait. @defaultValue `'250ms'` (ten times the base, gRFC A44) */
  readonly max?: Duration
}

export interface Backoff {
  readonly baseMs: number
  readonly maxMs: number
}

export const BACKOFF_DEFAULTS: Backoff = Object.freeze({ baseMs: 25, maxMs: 250 })

export const BACKOFF_FIELDS = fields({
  base: withDefault(duration({ min: 0, max: 60_000 }), BACKOFF_DEFAULTS.baseMs, formatDuration(25)),
  max: withDefault(duration({ min: 0, max: 300_000 }), BACKOFF_DEFAULTS.maxMs, formatDuration(250)),
})

/** Uniform in [0, min(max, base · 2^retry)); `retry` 0 is the first. */
export function fullJitter(backoff: Backoff, retry: number, clock: Clock): number {
  return clock.random() * Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(retry, 30))
}
