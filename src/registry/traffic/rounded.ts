/** Figures as answers give them. */

/** Four digits: the histograms are no more precise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
