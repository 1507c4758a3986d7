/** Sets of times, as lists of spans in order that do not touch. */
import type { Span } from './slots.ts'

export function union(spans: readonly Span[]): Span[] {
  const joined: { from: number; to: number }[] = []
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = joined.at(-1)
    if (from >= to) continue
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to)
    else joined.push({ from, to })
  }
  return joined
}

/** Both are unions. */
export function without(spans: readonly Span[], removed: readonly Span[]): Span[] {
  const left: Span[] = []
  for (const { from, to } of spans) {
    let at = from
    for (const hole of removed) {
      if (hole.to <= at || hole.from >= to) continue
      if (hole.from > at) left.push({ from: at, to: hole.from })
      at = hole.to
      if (at >= to) break
    }
    if (at < to) left.push({ from: at, to })
  }
  return left
}

export function lengthWithin(spans: readonly Span[], { from, to }: Span): number {
  let length = 0
  for (const span of spans) length += Math.max(0, Math.min(span.to, to) - Math.max(span.from, from))
  return length
}
