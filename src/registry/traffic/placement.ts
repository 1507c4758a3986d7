/** When reported calls happened: each message covers a time, one after the other. */
import type { Span } from './slots.ts'

export interface Arrived {
  /** When it came, in ms. */
  readonly at: number
  /** Time that it covers. */
  readonly forMs: number
  /** It is a further part of the message before, and covers the same time. */
  readonly continues?: boolean
}

/**
 * The time of each message, in their order. A message covers the time up to its arrival. Messages
 * that came together, because they or we were held up, are laid before one another. None reaches
 * before `after`, the end of the last one.
 */
export function place(messages: readonly Arrived[], after: number): Span[] {
  const spans: Span[] = []
  let next = Number.POSITIVE_INFINITY
  let isSame = false
  for (const { at, forMs, continues = false } of messages.toReversed()) {
    const last = spans.at(-1)
    const to = Math.min(at, next)
    const span = isSame && last !== undefined ? last : { from: to - Math.max(1, forMs), to }
    spans.push(span)
    next = span.from
    isSame = continues
  }
  let before = after
  const placed: Span[] = []
  for (const [i, span] of spans.reverse().entries()) {
    if (messages[i]!.continues && i > 0) {
      placed.push(placed[i - 1]!)
      continue
    }
    const from = Math.max(span.from, before)
    // At least a moment, or its calls would be in no slot.
    const to = Math.max(span.to, from + 1)
    before = to
    placed.push({ from, to })
  }
  return placed
}
