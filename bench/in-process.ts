/**
 * Measures work within this process, in ns and bytes. Bests of many short rounds count, because
 * everything else on the machine only adds.
 */

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

/**
 * The median of three bests: best of many short rounds, because everything else on the machine only
 * adds.
 */
export function nanoseconds(operations: number, work: () => void): number {
  const bests = [0, 0, 0].map(() => {
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < 25; round++) {
      const startedAt = performance.now()
      for (let i = 0; i < operations; i++) work()
      best = Math.min(best, ((performance.now() - startedAt) * 1e6) / operations)
    }
    return best
  })
  return median(bests)
}

/** The same of what ends later, one after the other. */
export async function nanosecondsOf(operations: number, work: () => Promise<unknown>): Promise<number> {
  const bests: number[] = []
  for (let i = 0; i < 3; i++) {
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < 15; round++) {
      const startedAt = performance.now()
      for (let j = 0; j < operations; j++) await work()
      best = Math.min(best, ((performance.now() - startedAt) * 1e6) / operations)
    }
    bests.push(best)
  }
  return median(bests)
}

/** Bytes left behind by each of `operations`, few enough that nothing is collected meanwhile. */
export function bytes(operations: number, work: () => void): number | undefined {
  const gc = globalThis.gc
  if (gc === undefined) return undefined
  return Math.round(
    median(
      [0, 0, 0, 0, 0].map(() => {
        const before = collected(gc).heapUsed
        for (let i = 0; i < operations; i++) work()
        return (process.memoryUsage().heapUsed - before) / operations
      }),
    ),
  )
}

export function collected(gc: () => void): NodeJS.MemoryUsage {
  gc()
  gc()
  return process.memoryUsage()
}
