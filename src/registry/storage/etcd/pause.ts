/** Waits between attempts. */

/** Grows from 50 ms to `most`, by half at random, so that registries do not come back in step. */
export function backoff(attempt: number, most: number): number {
  return Math.min(most, 50 * 2 ** Math.min(attempt, 10)) * (0.5 + Math.random() / 2)
}

/** Resolves early when `signal` aborts; never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}

/** A turn of the event loop for others. */
export function yieldTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
