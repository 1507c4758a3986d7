/** When the calls of messages happened: each message covers a time, and those of a process follow each other. */
import type { Span } from './slots.ts'

export interface Arrived {
  /** When it came, in ms. */
  readonly at: number
  /** Time that it covers. */
  readonly forMs: number
}

/**
 * The time of each message, in their order. A message covers the time up to its arrival. Messages
 * that came together, because they or we were held up, are laid before one another. None reaches
 * before `after`, the end of the last one.
 */
export function place(messages: readonly Arrived[], after: number): Span[] {
  const spans: Span[] = []
  let next = Number.POSITIVE_INFINITY
  for (const { at, forMs } of messages.toReversed()) {
    const to = Math.min(at, next)
    const from = to - Math.max(1, forMs)
    spans.push({ from, to })
    next = from
  }
  let before = after
  return spans.reverse().map((span) => {
    const from = Math.max(span.from, before)
    // At least a moment, or its calls would be in no slot.
    const to = Math.max(span.to, from + 1)
    before = to
    return { from, to }
  })
}
