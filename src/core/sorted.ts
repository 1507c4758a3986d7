/** Small sorted lists in typed arrays, for medians that allocate nothing. */

/** Puts `value` in its place among the first `filled` values, which are sorted. */
export function insertSorted(values: Float64Array, filled: number, value: number): void {
  let at = filled
  while (at > 0 && values[at - 1]! > value) {
    values[at] = values[at - 1]!
    at -= 1
  }
  values[at] = value
}

/** The median of the first `filled` values, which are sorted; at least one. */
export function medianOf(values: Float64Array, filled: number): number {
  return (values[(filled - 1) >> 1]! + values[filled >> 1]!) / 2
}
