/**
 * The child-process side of `harness.ts`: answers its questions, reports CPU time and allocations,
 * and drives load. Only the driver's loop runs during a measurement.
 */
import { GCProfiler } from 'node:v8'

/** The functions that the harness may call in this process, by name. */
export type Answers = Readonly<Record<string, (given: never) => unknown>>

export interface RunJob {
  readonly calls: number
  readonly concurrency: number
  /** The answers are to come at different times. */
  readonly apart: boolean
}

/** Calls at a fixed rate, or fewer on a machine that cannot: a bound of calls in flight. */
export interface PaceJob {
  readonly perSecond: number
  readonly forMs: number
}

const MOST_IN_FLIGHT = 64

/** One run of a driver. */
export interface Run {
  readonly elapsedMs: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** The job that this process was started with; see `Subject.start`. */
export function givenJob<T>(): T {
  return JSON.parse(process.argv[2] ?? 'null') as T
}

/** Answers questions until the parent disconnects. Sends `ready` first. */
export function answer(answers: Answers, ready: unknown = {}): void {
  const all: Answers = { ...accounts(), ...answers }
  process.on('message', async ({ id, ask, given }: { id: number; ask: string; given: never }) => {
    try {
      process.send!({ id, told: (await all[ask]!(given)) ?? null })
    } catch (error) {
      process.send!({ id, failed: error instanceof Error ? error.stack : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
  process.send!({ id: 0, told: ready })
}

/**
 * For a process that makes the calls: `call` is one, its answer read to the end. `around` runs each
 * run of them.
 */
export function driver(
  call: (apart: boolean) => Promise<unknown>,
  around: <T>(work: () => Promise<T>) => Promise<T> = (work) => work(),
): Answers {
  return { run: (job: RunJob) => around(() => drive(call, job)), pace: (job: PaceJob) => pace(call, job) }
}

/** Returns how many calls it made. */
async function pace(call: (apart: boolean) => Promise<unknown>, { perSecond, forMs }: PaceJob): Promise<number> {
  const running = new Set<Promise<unknown>>()
  let made = 0
  let due = 0
  const startedAt = performance.now()
  for (;;) {
    const elapsedMs = performance.now() - startedAt
    if (elapsedMs >= forMs) break
    for (; due < (elapsedMs * perSecond) / 1_000; due++) {
      if (running.size >= MOST_IN_FLIGHT) continue
      made += 1
      const one = call(false).finally(() => running.delete(one))
      running.add(one)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await Promise.all(running)
  return made
}

async function drive(call: (apart: boolean) => Promise<unknown>, { calls, concurrency, apart }: RunJob): Promise<Run> {
  const latencies = new Float64Array(calls)
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < calls; i = next++) {
      const before = performance.now()
      await call(apart)
      latencies[i] = performance.now() - before
    }
  }
  const before = performance.now()
  await Promise.all(Array.from({ length: concurrency }, worker))
  const elapsedMs = performance.now() - before
  latencies.sort()
  return { elapsedMs, p50Ms: latencies[calls >> 1]!, p99Ms: latencies[Math.floor(calls * 0.99)]! }
}

function accounts(): Answers {
  let profiler: GCProfiler | undefined
  let usedBefore = 0
  return {
    cpu: () => {
      const { user, system } = process.cpuUsage()
      return user + system
    },
    memory: () => process.memoryUsage(),
    /** What is reachable, after everything else was collected; needs `--expose-gc`. */
    heap: async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      globalThis.gc!()
      globalThis.gc!()
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      return heapUsed + arrayBuffers
    },
    countBytes: () => {
      profiler = new GCProfiler()
      usedBefore = process.memoryUsage().heapUsed
      profiler.start()
    },
    /**
     * Bytes put on the heap since `countBytes`: what is there, and what each collection took away.
     */
    bytes: () => {
      const used = process.memoryUsage().heapUsed
      const collected = profiler!
        .stop()!
        .statistics.map(
          ({ beforeGC, afterGC }) => beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize,
        )
      return collected.reduce((sum, bytes) => sum + bytes, used - usedBefore)
    },
  }
}
