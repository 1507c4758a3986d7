/** The line of an edge: level at each point, so that figures stand above and below it. */
import type { Point } from './layout.ts'

export function lineOf(points: readonly Point[], isLoop: boolean): string {
  const [first, ...rest] = points
  if (first === undefined) return ''
  return `M${at(first)}${isLoop ? loop(rest) : level(first, rest)}`
}

function level(first: Point, rest: readonly Point[]): string {
  let before = first
  return rest
    .map((point) => {
      const middle = (before.x + point.x) / 2
      const curve = `C${at({ x: middle, y: before.y })} ${at({ x: middle, y: point.y })} ${at(point)}`
      before = point
      return curve
    })
    .join('')
}

/** From a service to itself. */
function loop(rest: readonly Point[]): string {
  return rest
    .slice(0, -1)
    .map((point, i) => {
      const next = rest[i + 1]!
      const isLast = i === rest.length - 2
      const end = isLast ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 }
      return `Q${at(point)} ${at(end)}`
    })
    .join('')
}

function at({ x, y }: Point): string {
  return `${round(x)} ${round(y)}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
