/**
 * The wait between attempts, random so that clients that failed together do not return together.
 * The three families are those of Marc Brooker, "Exponential Backoff And Jitter", AWS 2015.
 */
import type { Clock } from '../core/clock.ts'
import { oneOf, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'

/**
 * - `full`: anything from nothing to the exponential bound. Spreads best, costs the least work.
 * - `equal`: at least half of the bound, so that no retry comes at once.
 * - `decorrelated`: grows from the last wait instead of the number of attempts.
 */
export const JITTERS = ['full', 'equal', 'decorrelated'] as const
export type Jitter = (typeof JITTERS)[number]

const definition = definePolicy('backoff', {
  /**
   * Upper bound of the first wait; it doubles with each retry. @defaultValue `'25ms'` (gRFC A44)
   */
  base: withDefault(duration({ max: 60_000 }), '25ms'),
  /**
   * Upper bound of any wait; not below `base`. @defaultValue `'250ms'` (ten times the base, gRFC
   * A44)
   */
  max: withDefault(duration({ max: 300_000 }), '250ms'),
  /**
   * Lower bound of any wait, also of one before another endpoint is tried. @defaultValue `0`
   */
  least: withDefault(duration({ max: 300_000 }), 0),
  /**
   * How the wait is spread: `full` from 0 to the bound, `equal` from half of it, `decorrelated`
   * from `base` to three times the last wait. @defaultValue `'full'`
   */
  jitter: withDefault(oneOf(JITTERS), 'full'),
})

/** How long to wait before the next attempt. */
export interface BackoffOptions extends OptionsOf<typeof definition> {}
export interface BackoffSettings extends SettingsOf<typeof definition> {}
export const BACKOFF: PolicyDefinition<BackoffOptions, BackoffSettings> = definition

/**
 * The wait before retry `retry` (0 is the first) in ms; `lastMs` is the wait before the one that
 * failed now, 0 if there was none.
 */
export function backoffMs(backoff: BackoffSettings, retry: number, lastMs: number, clock: Clock): number {
  const { baseMs, maxMs, jitter } = backoff
  if (jitter === 'decorrelated') {
    const from = Math.min(baseMs, maxMs)
    return Math.min(maxMs, from + clock.random() * (Math.max(lastMs, from) * 3 - from))
  }
  const boundMs = Math.min(maxMs, baseMs * 2 ** Math.min(retry, 30))
  return jitter === 'equal' ? boundMs / 2 + clock.random() * (boundMs / 2) : clock.random() * boundMs
}
