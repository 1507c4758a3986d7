/**
 * The rules by which an adaptive limit follows its measurements: three published ones, as pure
 * functions of a window of samples. Single samples spread too much: they look like a queue.
 */

export type LimitAlgorithm = 'vegas' | 'gradient2' | 'aimd'
export const LIMIT_ALGORITHMS: readonly LimitAlgorithm[] = Object.freeze(['vegas', 'gradient2', 'aimd'])

/** What was seen between two decisions. */
export interface LimitWindow {
  /** Mean duration of what succeeded, in ms. */
  readonly meanMs: number
  /** Most attempts in flight at once. */
  readonly inFlight: number
  /** Share of samples that ran out of time or were refused as overload. */
  readonly dropped: number
}

/** What is remembered from window to window. */
export interface LimitMemory {
  /** Mean duration without a queue, as it was last measured. */
  baselineMs: number
  /** Slow average of the windows, for Gradient2. */
  longMs: number
}

/**
 * A window with fewer drops than this has the usual share of calls with too little time, which says
 * nothing of load.
 */
const DROPS_COUNT_FROM = 0.1

/**
 * TCP Vegas (Netflix concurrency-limits, `VegasLimit`): the queue is what the limit would hold
 * beyond what the unloaded latency needs; grow while it is short, shrink when it is long. Theirs is
 * long above 6 log10(limit), which is less than the noise of a mean for large limits and several
 * times the capacity for small ones; shares of the limit are neither (own simulation, 1 to 200
 * workers).
 */
const SHORT_QUEUE = 0.15
const LONG_QUEUE = 0.3

export function vegas(limit: number, window: LimitWindow, memory: LimitMemory): number {
  if (window.dropped >= DROPS_COUNT_FROM) return limit * 0.9
  const queue = limit * (1 - memory.baselineMs / Math.max(memory.baselineMs, window.meanMs))
  const long = Math.max(2, LONG_QUEUE * limit)
  // A long queue is certain, so half of what is too much goes at once.
  if (queue > long) return limit - Math.max(1, (queue - long) / 2)
  if (2 * window.inFlight < limit) return limit
  return queue <= Math.max(1, SHORT_QUEUE * limit) ? limit + Math.max(1, limit / 10) : limit
}

/**
 * `Gradient2Limit`: room for a queue of four, latency up to 1.5 times the usual one is tolerated, a
 * fifth of the way each time.
 */
const QUEUE = 4
const TOLERANCE = 1.5
const SMOOTHING = 0.2
/** 600 windows (`longWindow`). */
const LONG_FACTOR = 2 / 601
/** Gradient2: shrink by the ratio of usual to present latency. */
export function gradient2(limit: number, window: LimitWindow, memory: LimitMemory): number {
  const { meanMs } = window
  const drifted = memory.longMs === 0 ? meanMs : memory.longMs + (meanMs - memory.longMs) * LONG_FACTOR
  // Under lasting overload the slow average would drift to the overloaded latency, the gradient to
  // 1 and the limit without end (concurrency-limits #134): it may not leave what was measured
  // without a queue.
  memory.longMs = Math.min(drifted, memory.baselineMs)
  if (window.dropped >= DROPS_COUNT_FROM) return limit * 0.9
  const gradient = Math.max(0.5, Math.min(1, (TOLERANCE * memory.longMs) / meanMs))
  if (gradient === 1 && 2 * window.inFlight < limit) return limit
  return limit + (gradient * limit + QUEUE - limit) * SMOOTHING
}

/**
 * `AIMDLimit`: one more while all goes well, a tenth less after any loss. Sees only losses, so it
 * is for clients.
 */
export function aimd(limit: number, window: LimitWindow): number {
  if (window.dropped > 0) return limit * 0.9
  return 2 * window.inFlight >= limit ? limit + 1 : limit
}
