/** The part of a series that has anything: a young mesh has no empty minutes before it. */

/** So that a first point is no picture by itself. */
const LEAST_POINTS = 13

interface Point {
  readonly perSecond: number | null
}

export function fromFirstKnown<T extends Point>(points: readonly T[]): readonly T[] {
  const first = points.findIndex(({ perSecond }) => perSecond !== null && perSecond > 0)
  if (first === -1) return points
  return points.slice(Math.max(0, Math.min(first - 1, points.length - LEAST_POINTS)))
}
