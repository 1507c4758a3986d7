/**
 * What a process under test spends in single callbacks, in turns of its loop and in garbage
 * collections. Only CPU time of the main thread counts, because the machine may stop us, too.
 */
import { createHook, executionAsyncResource } from 'node:async_hooks'
import { constants, PerformanceObserver } from 'node:perf_hooks'

const TICK_MS = 5
/** Shorter spans are not kept. */
const LONG_MS = 5

export interface LoopReport {
  /**
   * The longest callback without garbage collection: from the start of one callback to the start of
   * the next, with the ticks and microtasks in between and what Node does natively for the next.
   */
  readonly callbackMs: number
  /** What the longest callback belonged to. */
  readonly callbackOf: string
  /** The longest turn without garbage collection: the callbacks of all connections together. */
  readonly turnMs: number
  /** The longest turn with garbage collection. */
  readonly blockedMs: number
  /** The longest garbage collection. */
  readonly gcMs: number
  /** Garbage collections of the whole heap. */
  readonly majorGcs: number
  /** Live bytes after a garbage collection, at the time of the report. */
  readonly heapMb: number
}

export const NOTHING_MEASURED: LoopReport = {
  callbackMs: 0,
  callbackOf: '',
  turnMs: 0,
  blockedMs: 0,
  gcMs: 0,
  majorGcs: 0,
  heapMb: 0,
}

interface Collection {
  readonly at: number
  readonly ms: number
  readonly kind: number
}

interface Span {
  readonly from: number
  readonly to: number
  readonly cpuMs: number
  readonly of: string
}

/** Cuts the time of the thread into spans and keeps the long ones. */
class Spans {
  #at = performance.now()
  #used = process.threadCpuUsage()
  #of = ''
  long: Span[] = []

  cut(of: string): void {
    const now = performance.now()
    const { user, system } = process.threadCpuUsage(this.#used)
    const cpuMs = Math.min(now - this.#at, (user + system) / 1_000)
    if (cpuMs > LONG_MS) this.long.push({ from: this.#at, to: now, cpuMs, of: this.#of })
    this.#at = now
    this.#used = process.threadCpuUsage()
    this.#of = of
  }
}

/** Measures from its creation on; {@link report} begins anew. */
export class LoopMeter {
  readonly #turns = new Spans()
  readonly #callbacks = new Spans()
  #collections: Collection[] = []
  readonly #observer = new PerformanceObserver((list) => this.#collected(list.getEntries()))

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] })
    setInterval(() => this.#turns.cut('turn'), TICK_MS)
    let depth = 0
    createHook({
      before: () => {
        depth += 1
        if (depth > 1) return
        const { constructor: of } = executionAsyncResource()
        // Ticks and microtasks belong to the callback that asked for them.
        if (of !== Object && of.name !== 'AsyncResource') this.#callbacks.cut(of.name)
      },
      after: () => {
        depth = Math.max(0, depth - 1)
      },
      trackPromises: false,
    } as Parameters<typeof createHook>[0]).enable()
  }

  async report(): Promise<LoopReport> {
    // Entries of collections come later than the collections.
    await new Promise((resolve) => setTimeout(resolve, 50))
    this.#collected(this.#observer.takeRecords())
    const collections = this.#collections.sort((a, b) => a.at - b.at)
    const turns = this.#turns.long
    const callbacks = this.#callbacks.long.map((span) => ({ ...span, ownMs: ownMs(span, collections) }))
    const longest = callbacks.reduce((a, b) => (b.ownMs > a.ownMs ? b : a), { ownMs: 0, of: '' })
    const report = {
      callbackMs: longest.ownMs,
      callbackOf: longest.of,
      turnMs: Math.max(0, ...turns.map((span) => ownMs(span, collections))),
      blockedMs: Math.max(0, ...turns.map(({ cpuMs }) => cpuMs)),
      gcMs: Math.max(0, ...collections.map((collection) => collectionMs(collection, turns))),
      majorGcs: collections.filter(({ kind }) => kind === constants.NODE_PERFORMANCE_GC_MAJOR).length,
    }
    globalThis.gc!()
    const heapMb = process.memoryUsage().heapUsed / 2 ** 20
    // The collection that we asked for is not the listener's.
    await new Promise((resolve) => setTimeout(resolve, 50))
    this.#observer.takeRecords()
    this.#turns.cut('turn')
    this.#callbacks.cut('')
    this.#turns.long = []
    this.#callbacks.long = []
    this.#collections = []
    return { ...report, heapMb }
  }

  #collected(entries: readonly { startTime: number; duration: number }[]): void {
    for (const entry of entries) {
      const { startTime: at, duration: ms } = entry
      const { kind } = (entry as unknown as { detail: { kind: number } }).detail
      this.#collections.push({ at, ms, kind })
    }
  }
}

/**
 * CPU time without collections: exact for a span without one. Else the CPU time is shared out by
 * the time that passed, because the system does not count it for each collection.
 */
function ownMs({ from, to, cpuMs }: Span, collections: readonly Collection[]): number {
  let end = from
  let collectedMs = 0
  for (const { at, ms } of collections) {
    if (at < from || at >= to) continue
    // One may lie within another.
    collectedMs += Math.max(0, at + ms - Math.max(at, end))
    end = Math.max(end, at + ms)
  }
  return cpuMs * Math.max(0, 1 - collectedMs / (to - from))
}

/** No less than the CPU time of a collection, which is no more than that of its turn. */
function collectionMs({ at, ms }: Collection, turns: readonly Span[]): number {
  const turn = turns.find(({ from, to }) => at >= from && at < to)
  return Math.min(ms, turn?.cpuMs ?? LONG_MS)
}
