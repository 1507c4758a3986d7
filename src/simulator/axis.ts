/** Scales of a chart, with round ticks. */

export interface Axis {
  /** From 0 at the bottom to 1 at the top. */
  readonly place: (value: number) => number
  readonly ticks: readonly number[]
}

const STEPS = [1, 2, 2.5, 5, 10] as const
const MOST_TICKS = 5

/** From 0 to a round number that is not below `largest`. */
export function linearAxis(largest: number): Axis {
  const least = largest / MOST_TICKS
  const power = 10 ** Math.floor(Math.log10(least))
  const step = power * STEPS.find((one) => one * power >= least * 0.999_999)!
  const count = Math.ceil(largest / step - 1e-9)
  return {
    place: (value) => value / (count * step),
    ticks: Array.from({ length: count + 1 }, (_, i) => i * step),
  }
}

/** Whole decades with 1, 2 and 5 between, around what is shown. */
export function logarithmicAxis(smallest: number, largest: number): Axis {
  const marks = Array.from({ length: 14 }, (_, i) => [1, 2, 5].map((one) => one * 10 ** (i - 4))).flat()
  const first = marks.findLastIndex((mark) => mark <= smallest)
  const last = marks.findIndex((mark) => mark >= largest)
  const ticks = marks.slice(Math.max(0, first), Math.max(first + 1, last) + 1)
  const [low, high] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)]
  return { place: (value) => (Math.log(value) - low) / (high - low), ticks }
}
