/** Divides the counts of a message over the slots that it covers, without losing one. */
import type { Totals } from './totals.ts'

/**
 * Takes about `share` of what `left` has into `into`. Numbers stay whole: what is rounded off one
 * step goes to the next, so their sum is right as well. `share` 1 takes all.
 */
export function takeShare(left: Totals, share: number, into: Totals): void {
  into.clear()
  const { first, last } = left
  if (share >= 1) {
    into.add(left)
    left.clear()
    return
  }
  const take = (count: number): number => Math.round(count * share)
  into.calls = take(left.calls)
  into.retries = take(left.retries)
  into.hedges = take(left.hedges)
  into.mirrored = take(left.mirrored)
  left.calls -= into.calls
  left.retries -= into.retries
  left.hedges -= into.hedges
  left.mirrored -= into.mirrored
  for (const [code, count] of left.codes) {
    const taken = take(count)
    into.addFailures(code, taken)
    left.codes.set(code, count - taken)
  }
  let due = 0
  let taken = 0
  for (let step = first; step <= last; step++) {
    const count = left.steps[step]!
    if (count === 0) continue
    due += count * share
    const part = Math.min(count, Math.round(due) - taken)
    taken += part
    into.addLatencies(step, part)
    left.steps[step] = count - part
  }
}
