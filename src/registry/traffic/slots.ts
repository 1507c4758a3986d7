/** How the last hour is divided: slots of 5 s for ten minutes, minutes for the rest. */

/** The interval at which processes tell, so that a slot has about one message of each. */
export const SLOT_MS = 5_000
export const MINUTE_MS = 60_000
export const SLOTS_PER_MINUTE = MINUTE_MS / SLOT_MS
/** Slots that are kept, the one that goes on included. */
export const SLOTS_KEPT = 120
export const MINUTES_KEPT = 60
export const KEPT_MS = MINUTES_KEPT * MINUTE_MS
/** Slots stay at least this long when memory is short; minutes go first after that. */
export const LEAST_SLOTS_KEPT = 24
/**
 * From the end of a slot until all that belongs to it has come: one interval of the processes, and
 * the time that their messages take.
 */
export const SETTLE_MS = SLOT_MS + 1_000

/** A time between two instants, on the monotonic clock, in ms. */
export interface Span {
  readonly from: number
  readonly to: number
}

export function overlapMs(a: Span, b: Span): number {
  return Math.max(0, Math.min(a.to, b.to) - Math.max(a.from, b.from))
}
