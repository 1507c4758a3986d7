/**
 * The log-linear steps of latencies (after HdrHistogram, http://hdrhistogram.org): 8 per doubling,
 * in whole µs. Histograms of metrics split them at exported boundaries; digests merge pairs.
 */

/** 2^3 = 8 steps per doubling. */
const STEP_BITS = 3
const STEPS = 1 << STEP_BITS
/** 35 minutes, far beyond any deadline; longer latencies count as this. */
export const LARGEST_US = 2 ** 31 - 1
/** 0 to 231. */
export const STEP_COUNT = STEPS + (31 - STEP_BITS) * STEPS

/** A latency in whole µs, from 0 to {@link LARGEST_US}; negative values and NaN are 0. */
export function wholeUs(ms: number): number {
  const us = ms * 1_000
  return us > 0 ? (us < LARGEST_US ? us | 0 : LARGEST_US) : 0
}

/** The step of a value in whole µs: exact below 8, then the exponent and the next three bits. */
export function stepOf(us: number): number {
  if (us < STEPS) return us
  const shift = 31 - Math.clz32(us) - STEP_BITS
  return shift * STEPS + (us >>> shift)
}

/** The lowest value of a step, in µs. */
export function lowestOf(step: number): number {
  if (step < STEPS) return step
  const shift = Math.floor(step / STEPS) - 1
  return (STEPS + (step % STEPS)) * 2 ** shift
}
